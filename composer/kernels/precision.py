"""The precision that the kernels compute in: float32 or float64, or what autocast chooses."""

from __future__ import annotations

import torch
from torch import Tensor

#: The dtypes that need no other for a sum.
FULL = (torch.float32, torch.float64)


def in_full(x: Tensor) -> Tensor:
    """Return x, of half precision as float32."""
    return x if x.dtype in FULL else x.float()


def autocast_to(x: Tensor) -> torch.dtype | None:
    """Return the dtype that autocast computes in on x's device; None without it."""
    kind = x.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return None
    return torch.get_autocast_dtype(kind)
