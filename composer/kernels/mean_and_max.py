"""The mean and maximum of x along some axes, stacked on a new one.

Forward these are two reads, the second from the caches: large maps are reduced part by part.
Backward, with n values
pooled, k of them equal to the maximum m, and the gradients ∂a of the mean and ∂m of the maximum,

    ∂x = ∂a/n + [x = m] ∂m/k

is one map, again written part by part, whereas torch writes four: [x = m] ∂m, that over k, ∂a/n,
and their sum. As in torch's `amax`, equal maxima share the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.largest import largest
from composer.kernels.memory import exceeds_caches, in_cache, is_large, is_plain


def mean_and_max(x: Tensor, axes: tuple[int, ...], at: int, mean_first: bool) -> Tensor:
    """Return mean and maximum of x over some `axes`, stacked on a new axis at position `at`."""
    if has_torch_function_unary(x):
        return handle_torch_function(mean_and_max, (x,), x, axes, at, mean_first)
    if torch.compiler.is_compiling() and axes == (at,):
        return _joined(x, at, mean_first)
    if (
        torch.compiler.is_compiling()
        or type(x) is not Tensor
        or not (x.requires_grad and torch.is_grad_enabled())
    ):
        return _stacked(*_pooled(x, axes), at, mean_first)
    return _MeanAndMax.apply(x, axes, at, mean_first)  # type: ignore[no-any-return]


def _pooled(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    if not exceeds_caches(x):
        return x.mean(axes), largest(x, axes)
    axis, length = in_cache(x)
    if length >= x.shape[axis] or axis in _positive(x, axes):
        return x.mean(axes), largest(x, axes)
    at = axis - sum(pooled < axis for pooled in _positive(x, axes))
    pairs = [(part.mean(axes), largest(part, axes)) for part in torch.split(x, length, axis)]
    means, maxima = zip(*pairs, strict=True)
    return torch.cat(means, at), torch.cat(maxima, at)


def _positive(x: Tensor, axes: tuple[int, ...]) -> list[int]:
    return [axis % x.dim() for axis in axes]


def _stacked(mean: Tensor, largest: Tensor, at: int, mean_first: bool) -> Tensor:
    return torch.stack((mean, largest) if mean_first else (largest, mean), at)


def _joined(x: Tensor, axis: int, mean_first: bool) -> Tensor:
    """Return mean and maximum along an axis in its place, without an intermediate view.

    For a view with open sizes before a convolution, inductor (2.14) can't determine the order of
    the strides, and fails: "cannot determine truth value of Relational".
    """
    both = x.mean(axis, keepdim=True), x.amax(axis, keepdim=True)
    return torch.cat(both if mean_first else both[::-1], axis)


class _MeanAndMax(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...], at: int, mean_first: bool) -> Tensor:
        return _stacked(*_pooled(x, axes), at, mean_first)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.axes, ctx.at, ctx.mean_first = inputs
        ctx.save_for_backward(x, output)
        ctx.save_for_forward(x, output)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, *_: None) -> Tensor:
        x, output = ctx.saved_tensors
        is_largest = _is_largest(ctx, x, output)
        moved = (dx * is_largest).sum(ctx.axes) / is_largest.sum(ctx.axes)
        return _stacked(dx.mean(ctx.axes), moved, ctx.at, ctx.mean_first)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, output = ctx.saved_tensors
        of_mean, of_max = _parts(ctx, dy)
        of_mean = of_mean / (x.numel() // max(of_mean.numel(), 1))
        if not torch.is_grad_enabled() and is_plain(dy) and is_large(x):
            return _written(ctx, x, output, of_mean, of_max), None, None, None
        is_largest = _is_largest(ctx, x, output)
        of_max = of_max / is_largest.sum(ctx.axes, keepdim=True)
        if torch.is_grad_enabled() or not is_plain(dy):  # a double backward, or a batched one
            return is_largest * of_max + of_mean, None, None, None
        return is_largest.mul_(of_max).add_(of_mean), None, None, None


def _written(ctx: Any, x: Tensor, output: Tensor, of_mean: Tensor, of_max: Tensor) -> Tensor:
    """Return the gradient of large x, part by part."""
    _, largest = _parts(ctx, output)
    dx = torch.empty_like(x)
    axis, length = in_cache(dx)
    if axis in _positive(x, ctx.axes):
        length = x.shape[axis]
    for dx_, *given in zip(
        *(torch.split(t, length, axis) for t in (dx, x, largest, of_max, of_mean)), strict=True
    ):
        x_, largest_, of_max_, of_mean_ = given
        torch.eq(x_, largest_, out=dx_)
        dx_.mul_(of_max_ / dx_.sum(ctx.axes, keepdim=True)).add_(of_mean_)
    return dx


def _parts(ctx: Any, stacked: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and maximum from their stack, with the pooled axes kept."""
    parts = list(stacked.unbind(ctx.at))
    for axis in sorted(ctx.axes):
        parts = [part.unsqueeze(axis) for part in parts]
    return (parts[0], parts[1]) if ctx.mean_first else (parts[1], parts[0])


def _is_largest(ctx: Any, x: Tensor, output: Tensor) -> Tensor:
    """Return 1 where x is the maximum of its pool, else 0, as numbers, which torch sums fastest."""
    _, largest = _parts(ctx, output.detach())
    return x.detach().clone().eq_(largest)
