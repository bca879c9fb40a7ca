"""Σᵢ xᵢ ⊙ gᵢ, where gᵢ broadcasts to xᵢ, with one new map forward and one for each xᵢ backward.

With y = Σᵢ xᵢ ⊙ gᵢ and its gradient ∂y:

    ∂xᵢ = ∂y ⊙ gᵢ
    ∂gᵢ = Σ ∂y ⊙ xᵢ      over the axes along which gᵢ was broadcast

Torch allocates a map for each product ∂y ⊙ xᵢ. Here the products use the memory of ∂xᵢ, which is
written afterwards, part by part, so that it stays in the caches; that pays off for large maps, see
`composer.kernels.memory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from composer.kernels.memory import in_cache, is_large, is_plain, needs_gradient


def weighed(x: Tensor, by: Tensor) -> Tensor:
    """Return ``x * by``, a new tensor; `by` broadcasts to x."""
    if has_torch_function_variadic(x, by):
        return handle_torch_function(weighed, (x, by), x, by)
    by = in_order(x, by)
    return _large((x,), (by,)) if is_large(x) and are_large((x,), (by,)) else x * by


def weighed_in_place(x: Tensor, by: Tensor) -> Tensor:
    """Return ``x * by`` in the memory of x, if no gradient is needed; x must not be read again.

    Overrides of torch's functions get `weighed` instead: a trace may be edited so that x is read
    again after all, as by torchvision's `create_feature_extractor`.
    """
    if has_torch_function_variadic(x, by):
        return weighed(x, by)
    if torch.compiler.is_compiling() or not (is_plain(x) and is_plain(by)) or x.dtype != by.dtype:
        return x * by
    return weighed(x, by) if needs_gradient(x, by) else x.mul_(in_order(x, by))


def weighed_sum(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Return the sum of each value times its weight, which broadcasts to it.

    Args:
        values: tensors of one shape.
        weights: as many, each of a shape that broadcasts to the values'.
    """
    if has_torch_function_variadic(*values, *weights):
        return handle_torch_function(weighed_sum, (*values, *weights), values, weights)
    weights = [in_order(x, by) for x, by in zip(values, weights, strict=True)]
    if is_large(values[0]) and are_large(values, weights):
        return _large(values, weights)
    y = values[0] * weights[0]
    for x, by in zip(values[1:], weights[1:], strict=True):
        y = torch.addcmul(y, x, by)
    return y


def in_order(x: Tensor, by: Tensor) -> Tensor:
    """Return a small weight in the memory order of x.

    A weight for each column, in the order of its columns, would be read against the order of x:
    for 512 channels of 28×28 the product then takes 17 times as long.
    """
    if torch.compiler.is_compiling() or (by.is_contiguous() and x.is_contiguous()):
        return by
    if 4 * by.numel() > x.numel() or by.dim() > x.dim():
        return by
    full = by[(None,) * (x.dim() - by.dim())]
    order = sorted(range(x.dim()), key=lambda axis: -x.stride()[axis])
    steps = [full.stride()[axis] for axis in order if full.shape[axis] > 1]
    if steps == sorted(steps, reverse=True):
        return by
    return full.permute(order).contiguous().permute([order.index(axis) for axis in range(x.dim())])


def split_along(by: Tensor, x: Tensor, axis: int, length: int) -> tuple[Sequence[Tensor], bool]:
    """Return the weight of each part of x along an axis, and whether all parts share it."""
    full = by.reshape(*(1 for _ in range(x.dim() - by.dim())), *by.shape)
    if full.shape[axis] == 1:
        return [full] * -(-x.shape[axis] // length), True
    return torch.split(full, length, axis), False


def are_large(values: Sequence[Tensor], weights: Sequence[Tensor]) -> bool:
    """Return whether the values are large, and agree in dtype and device with their weights."""
    x = values[0]
    return all(other.dtype == x.dtype and other.shape == x.shape for other in values) and all(
        by.dtype == x.dtype and by.is_cpu and is_plain(by) and _fits(by, x) for by in weights
    )


def _fits(by: Tensor, x: Tensor) -> bool:
    """Return whether the product has the shape of x."""
    have = zip(reversed(by.shape), reversed(x.shape), strict=False)
    return by.dim() <= x.dim() and all(mine in (1, its) for mine, its in have)


def _large(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    if needs_gradient(*values, *weights):
        return _WeighedSum.apply(len(values), *values, *weights)  # type: ignore[no-any-return]
    return _forward(values, weights)


def _forward(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    y = values[0] * weights[0]
    for x, by in zip(values[1:], weights[1:], strict=True):
        y.addcmul_(x, by)
    return y


class _WeighedSum(torch.autograd.Function):
    @staticmethod
    def forward(number: int, *given: Tensor) -> Tensor:
        return _forward(given[:number], given[number:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        ctx.number = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        given, number = ctx.saved_tensors, ctx.number
        wanted = ctx.needs_input_grad[1:]
        pairs = [
            _gradients(dy, given[i], given[number + i], wanted[i], wanted[number + i])
            for i in range(number)
        ]
        return None, *(dx for dx, _ in pairs), *(dby for _, dby in pairs)


def _gradients(
    dy: Tensor, x: Tensor, by: Tensor, wants_x: bool, wants_by: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return the needed gradients of ``x * by``."""
    if torch.is_grad_enabled() or not is_plain(dy) or by.shape == x.shape:
        # a double or batched backward; or the product itself is the gradient
        dby = (dy * x).sum_to_size(by.shape) if wants_by else None
        return (dy * by if wants_x else None), dby
    dx = torch.empty_like(x)
    if not wants_by:
        return torch.mul(dy, by, out=dx), None
    axis, length = in_cache(dx)
    weights, shared = split_along(by, x, axis, length)
    maps = (torch.split(whole, length, axis) for whole in (dx, dy, x))
    found = []
    for dx_, dy_, x_, by_ in zip(*maps, weights, strict=True):
        total = torch.mul(dy_, x_, out=dx_).sum_to_size(by_.shape)
        found.append(total.clone() if by_.shape == dx_.shape else total)  # dx_ is written next
        if wants_x:
            torch.mul(dy_, by_, out=dx_)
    dby = torch.stack(found).sum(0) if shared else torch.cat(found, axis)
    return (dx if wants_x else None), dby.reshape(by.shape)
