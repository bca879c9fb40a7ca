"""The sum of squares over some axes, with one product in its gradient.

    y  = Σ x²
    ∂x = 2 ∂y x

As a product of x with itself, torch writes the squares to a new map, and in the gradient multiplies
for both factors, and adds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.memory import in_cache, is_large, needs_gradient
from composer.kernels.unreduced import unreduced


def squares(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return ``(x * x).sum(axes)``."""
    if has_torch_function_unary(x):
        return handle_torch_function(squares, (x,), x, axes)
    if not is_large(x):
        return (x * x).sum(axes)
    if needs_gradient(x):
        return _Squares.apply(x, axes)  # type: ignore[no-any-return]
    return _in_parts(x, axes)


class _Squares(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return _in_parts(x, axes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, ctx.axes = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return x * unreduced(2 * dy, ctx.axes, x.dim()), None


def _in_parts(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the sum; the squares exist only in part if the axis that lies first is kept."""
    along, size = in_cache(x)
    if along in (axis % x.dim() for axis in axes):
        return (x * x).sum(axes)
    kept = along - sum(axis % x.dim() < along for axis in axes)
    parts = torch.split(x, size, along)
    return torch.cat([(part * part).sum(axes) for part in parts], kept)
