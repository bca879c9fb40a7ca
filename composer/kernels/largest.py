"""The largest of many channels where each map is small: max(a₀ … a₂ₙ) is that of two halves' max.

Torch reduces an axis with less than a few vectors beside it element by element, and takes the
larger of two tensors by whole vectors: for 2,048 channels of 7×7 in a quarter of the time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

_FEW = 64  # numbers that lie side by side behind the axis
_SMALL = 256  # channels that are reduced as they are


def largest(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return ``x.amax(axes)``; with equal values, its gradient is shared among all of them."""
    if has_torch_function_unary(x):
        return handle_torch_function(largest, (x,), x, axes)
    if len(axes) == 1 and _pays(x, axes[0]):
        (axis,) = axes
        while x.shape[axis] > _SMALL and x.shape[axis] % 2 == 0:
            x = torch.maximum(*x.tensor_split(2, axis))
    return x.amax(axes)


def _pays(x: Tensor, axis: int) -> bool:
    if torch.compiler.is_compiling() or type(x) is not Tensor or not x.is_cpu:
        return False
    if x.shape[axis] < 2 * _SMALL or not 1 < math.prod(x.shape[axis + 1 :]) < _FEW:
        return False
    return x.is_contiguous() and not (torch.is_grad_enabled() and x.requires_grad)
