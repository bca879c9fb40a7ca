"""Dropout with shared masks along some axes: of whole channels, maps or samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SharedDropout(nn.Module):
    """In training, zero each value with probability p, and divide the others by 1 - p.

    Along the axes `shared`, all values share one random number.
    """

    def __init__(self, p: float, shared: tuple[int, ...]) -> None:
        super().__init__()
        self.p, self.shared = p, shared

    def forward(self, x: Tensor) -> Tensor:
        """Return x with dropout; in evaluation mode, x unchanged."""
        if not self.training or self.p == 0:
            return x
        shape = [1 if axis in self.shared else size for axis, size in enumerate(x.shape)]
        kept = torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(1 - self.p)
        return x * (kept if self.p == 1 else kept / (1 - self.p))

    def extra_repr(self) -> str:
        """Return the description shown when a model is printed."""
        return f"p={self.p:g}, shared={self.shared}"
