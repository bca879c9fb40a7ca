"""The Euclidean length over some axes, and values divided by it.

    r  = √Σ x²,      y  = x / max(r, ε)
    ∂x = (∂y - y Σ ∂y ⊙ y) / max(r, ε)      the sum over the axes; without it where r < ε

On the CPU torch takes seven times as long for a length over axes that are not the last in memory.
In the gradient of a length it writes two maps, in that of the quotient four; here one or two.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.memory import is_plain, needs_gradient
from composer.kernels.precision import FULL
from composer.kernels.squares import squares
from composer.kernels.unreduced import unreduced


def length(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return √Σx², whose gradient is 0 where all x are 0."""
    if has_torch_function_unary(x):
        return handle_torch_function(length, (x,), x, axes)
    if not _suits(x) or (_are_last(x, axes) and not needs_gradient(x)):
        found: Tensor = torch.linalg.vector_norm(x, 2, axes)
        return found
    return root(squares(x, axes))


def root(x: Tensor) -> Tensor:
    """Return √x, whose gradient is 0 where x is 0."""
    none = x == 0
    return x.masked_fill(none, 1).sqrt().masked_fill(none, 0)


def normalized(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """Return x divided by its length over the axes, or by eps if that is longer."""
    if has_torch_function_unary(x):
        return handle_torch_function(normalized, (x,), x, axes, eps)
    if not _suits(x):
        return functional.normalize(x, dim=axes, eps=eps)  # type: ignore[arg-type]
    if needs_gradient(x):
        y: Tensor = _Normalized.apply(x, axes, eps)[0]
        return y
    return x / _divisor(x, axes, eps)


def _suits(x: Tensor) -> bool:
    own = x.device.type == "cpu" and x.dtype in FULL
    return own and not torch.compiler.is_compiling() and is_plain(x)


def _are_last(x: Tensor, axes: tuple[int, ...]) -> bool:
    """Return whether the axis with the smallest step in memory is one of these."""
    along = min(range(x.dim()), key=lambda axis: (x.stride()[axis], -axis))
    return along in (axis % x.dim() for axis in axes)


def _divisor(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    return unreduced(length(x, axes), axes, x.dim()).clamp_min(eps)


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
        r = _divisor(x, axes, eps)
        return x / r, r

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, ctx.axes, ctx.eps = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, output[1])  # not the other, which may be changed in place

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> Any:
        x, r = ctx.saved_tensors
        short = r <= ctx.eps
        if torch.is_grad_enabled() or not is_plain(dy):  # a double or batched backward
            r = torch.linalg.vector_norm(x, 2, ctx.axes, keepdim=True).clamp_min(ctx.eps)
        y = x / r
        along = (dy * y).sum(ctx.axes, keepdim=True).masked_fill(short, 0)
        return torch.addcmul(dy, y, along, value=-1) / r, None, None
