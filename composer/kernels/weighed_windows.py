"""Σₖ windowₖ(x) ⊙ gₖ: a separate weight for each value of a window, without storing the windows.

With xₖ the map of the k-th values of all windows, which is a view of the zero-padded x:

    y   = Σₖ xₖ ⊙ gₖ
    ∂xₖ = ∂y ⊙ gₖ           added in place of xₖ
    ∂gₖ = Σ ∂y ⊙ xₖ         over the axes along which gₖ was broadcast

7×7 windows would be 49 maps, and so would their product with the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

from composer.kernels.memory import is_plain, needs_gradient
from composer.kernels.windows import unfold


def weighed_windows(
    x: Tensor, by: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Return the weighted sum of the values of each window of x.

    Args:
        x: ``[..., *places]``.
        by: ``[..., *kernel, *windows]``, which broadcasts to the windows of x.
        stride: the step between windows, for each spatial axis.
        padding: zeros on each side.
        dilation: the step within a window.

    Returns:
        [..., *windows].
    """
    given = (stride, padding, dilation)
    if has_torch_function_variadic(x, by):
        return handle_torch_function(weighed_windows, (x, by), x, by, *given)
    if torch.compiler.is_compiling() or not (is_plain(x) and is_plain(by)):
        return _written(x, by, *given)
    if x.dtype != by.dtype or x.dim() != by.dim() - len(stride):
        return _written(x, by, *given)
    if needs_gradient(x, by):
        out: Tensor = _WeighedWindows.apply(x, by, *given)
        return out
    return _sum(_padded(x, padding), by, stride, dilation)


def _written(
    x: Tensor, by: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Return the same by its definition, for which torch has all derivatives."""
    places = len(stride)
    kernel = by.shape[-2 * places : -places]
    windows = unfold(x, kernel, stride, padding, dilation)
    return (windows * by).sum(tuple(range(-2 * places, -places)))


def _padded(x: Tensor, padding: Sequence[int]) -> Tensor:
    return functional.pad(x, [zeros for zeros in reversed(padding) for _ in range(2)])


def _parts(
    padded: Tensor, by: Tensor, stride: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield xₖ and gₖ for each value of a window, both as views."""
    places = len(stride)
    kernel, windows = by.shape[-2 * places : -places], by.shape[-places:]
    for values in itertools.product(*map(range, kernel)):
        spans = zip(values, windows, stride, dilation, strict=True)
        where: tuple[Any, ...] = (
            ..., *(slice(k * d, k * d + (n - 1) * s + 1, s) for k, n, s, d in spans)
        )  # fmt: skip
        weight: tuple[Any, ...] = (..., *values, *(slice(None),) * places)
        yield padded[where], by[weight]


def _sum(padded: Tensor, by: Tensor, stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    parts = _parts(padded, by, stride, dilation)
    first, weight = next(parts)
    y = first * weight
    for part, weight in parts:
        y.addcmul_(part, weight)
    return y


class _WeighedWindows(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor, by: Tensor, stride: Sequence[int], padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Tensor:  # fmt: skip
        return _sum(_padded(x, padding), by, stride, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, by, *ctx.given = inputs
        ctx.save_for_backward(x, by)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, by = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_plain(dy):
            return *_again(x, by, ctx.given, dy), None, None, None
        stride, padding, dilation = ctx.given
        padded = _padded(x, padding)
        dpadded = torch.zeros_like(padded) if ctx.needs_input_grad[0] else None
        dby = torch.empty_like(by) if ctx.needs_input_grad[1] else None
        pairs = _parts(padded, by, stride, dilation)
        targets = _parts(
            padded if dpadded is None else dpadded, by if dby is None else dby, stride, dilation
        )
        for (part, weight), (dpart, dweight) in zip(pairs, targets, strict=True):
            if dpadded is not None:
                dpart.addcmul_(dy, weight)
            if dby is not None:
                dweight.copy_((dy * part).sum_to_size(dweight.shape))
        dx = None if dpadded is None else _inner(dpadded, x, padding)
        return dx, dby, None, None, None


def _inner(padded: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
    """Return the part without the zero padding."""
    sizes = x.shape[x.dim() - len(padding) :]
    inside: tuple[Any, ...] = (
        ..., *(slice(p, p + n) for p, n in zip(padding, sizes, strict=True))
    )  # fmt: skip
    return padded[inside].contiguous()


def _again(x: Tensor, by: Tensor, given: Sequence[Any], dy: Tensor) -> tuple[Any, ...]:
    """Return differentiable gradients, for a double backward."""
    wanted = [tensor for tensor in (x, by) if tensor.requires_grad]
    with torch.enable_grad():
        y = _written(x, by, *given)
        found = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in (x, by))
