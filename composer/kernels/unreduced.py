"""Brings back the axes that a reduction removed, so that its value broadcasts to what it is of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def unreduced(y: Tensor, axes: Sequence[int], dims: int) -> Tensor:
    """Return y with size 1 at each of the axes, of a value with so many dimensions."""
    for axis in sorted(axis % dims for axis in axes):
        y = y.unsqueeze(axis)
    return y
