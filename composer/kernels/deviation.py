"""The variance and standard deviation over some axes, from the differences to the mean.

    σ² = Σ (x - μ)² / n
    ∂x = 2 (x - μ) ∂σ² / n      for the gradient of μ is zero: the differences add up to zero

Torch's own versions process the values one by one on the CPU; a mean, a difference and a sum of
squares take a sixth of that time, and the gradient is one map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.length import root
from composer.kernels.memory import is_plain, needs_gradient
from composer.kernels.precision import in_full
from composer.kernels.squares import squares
from composer.kernels.unreduced import unreduced


def variance(x: Tensor, over: Sequence[int]) -> Tensor:
    """Return the biased variance over the axes `over`."""
    if has_torch_function_unary(x):
        return handle_torch_function(variance, (x,), x, over)
    if not _suits(x):
        return torch.var(x, tuple(over), correction=0)
    return _variance(x, tuple(over)).to(x.dtype)


def deviation(x: Tensor, over: Sequence[int]) -> Tensor:
    """Return the square root of the variance; where it is zero, its gradient is zero."""
    if has_torch_function_unary(x):
        return handle_torch_function(deviation, (x,), x, over)
    if not _suits(x):
        return torch.std(x, tuple(over), correction=0)
    return root(_variance(x, tuple(over))).to(x.dtype)


def _suits(x: Tensor) -> bool:
    own = x.device.type == "cpu" and x.dtype.is_floating_point
    return own and not torch.compiler.is_compiling()


def _variance(x: Tensor, over: tuple[int, ...]) -> Tensor:
    """Return the variance, at least in float32."""
    if is_plain(x) and needs_gradient(x):
        found: Tensor = _Variance.apply(x, over)[0]
        return found
    return _with_mean(x, over)[0]


def _with_mean(x: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    x = in_full(x)
    mean = x.mean(over, keepdim=True)
    return squares(x - mean, over) / _number(x, over), mean


def _number(x: Tensor, over: tuple[int, ...]) -> int:
    return math.prod(x.shape[axis] for axis in over)


class _Variance(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return _with_mean(x, over)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, ctx.over = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> Any:
        given, mean = ctx.saved_tensors
        x = in_full(given)
        factor = unreduced(dy * (2 / max(_number(x, ctx.over), 1)), ctx.over, x.dim())
        if torch.is_grad_enabled() or not is_plain(dy):  # a double or batched backward
            return ((x - x.mean(ctx.over, keepdim=True)) * factor).to(given.dtype), None
        return torch.addcmul(-factor * mean, x, factor).to(given.dtype), None
