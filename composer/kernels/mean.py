"""The mean over some axes, whose gradient is a view.

    y  = Σ x / n
    ∂x = ∂y / n       the same number for each of the n values

Torch writes this number n times, to a new map as large as x, and adds it to the gradient from x's
other readers. A view with strides of zero is added just as well; that pays off for large maps, see
`composer.kernels.memory`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.memory import is_large
from composer.kernels.precision import FULL
from composer.kernels.unreduced import unreduced

#: In half precision a view adds as fast as a map only if it repeats each number so often.
_LONG = 128


def mean(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Return ``x.mean(axes)``."""
    if has_torch_function_unary(x):
        return handle_torch_function(mean, (x,), x, axes)
    if torch.is_grad_enabled() and x.requires_grad and is_large(x):
        return _Mean.apply(x, axes)  # type: ignore[no-any-return]
    return x.mean(axes)


class _Mean(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
        return x.mean(axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, ctx.axes = inputs
        ctx.shape, ctx.contiguous = x.shape, x.is_contiguous()

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, *_: None) -> Tensor:
        return dx.mean(ctx.axes)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        axes = (ctx.axes,) if isinstance(ctx.axes, int) else ctx.axes
        if ctx.contiguous:
            dy = dy.contiguous()  # else it would be added against the order of x
        number = math.prod(ctx.shape[axis] for axis in axes)
        dx = (unreduced(dy, axes, len(ctx.shape)) / number).expand(ctx.shape)
        if dx.dtype not in FULL and number < _LONG and ctx.contiguous:
            dx = dx.contiguous()
        return dx, None
