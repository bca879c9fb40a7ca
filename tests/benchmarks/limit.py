"""The memory traffic that no gate on a map can avoid: it is measured, not computed.

Forward, the map is read for what the gate is made of, read again, and written, scaled, to a fresh
tensor. Backward, the map and the gradient are read for the gate's gradient, and the gradient is
read again and written, scaled, to a fresh tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor


def forward(x: Tensor) -> Tensor:
    """Read the map, read it again, write it."""
    x.sum()
    return x * 2


def step(x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Do the same, and read the map and the gradient, read the gradient again, write it."""
    out = forward(x)
    torch.dot(flat(x), flat(gradient))
    return out, gradient * 2


def flat(x: Tensor) -> Tensor:
    """Return all elements in the order in which they lie in memory."""
    return x.as_strided((x.numel(),), (1,))
