"""The maximum over many channels of small maps, as the elementwise maximum of two halves.

Torch reduces an axis elementwise if the inner axes are small, but computes the maximum of two
tensors with vector instructions: for 2,048 channels of 7×7 in a quarter of the time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

_FEW = 64  # contiguous values after the axis
_SMALL = 256  # channels that are reduced directly


def largest(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return ``x.amax(axes)``; equal maxima share the gradient."""
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
