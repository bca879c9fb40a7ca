"""Σ x ⊙ g over some axes, where g broadcasts to x; without a gradient no map is written.

The products exist only part by part, while they are in the caches; see `composer.kernels.memory`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from composer.kernels.memory import in_cache, is_large, needs_gradient
from composer.kernels.precision import autocast_to
from composer.kernels.weighed_sum import are_large, in_order, split_along, weighed


def weighed_total(x: Tensor, by: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return ``(x * by).sum(axes)``; `by` broadcasts to x.

    Autocast to bfloat16 computes it in that, as it does a convolution or a product of matrices; in
    float16 the products could overflow.
    """
    if has_torch_function_variadic(x, by):
        return handle_torch_function(weighed_total, (x, by), x, by, axes)
    in_half = autocast_to(x) == torch.bfloat16
    if in_half and {x.dtype, by.dtype} <= {torch.float32, torch.bfloat16}:
        return _total(x.bfloat16(), by.bfloat16(), axes).bfloat16()
    return _total(x, by, axes)


def _total(x: Tensor, by: Tensor, axes: tuple[int, ...]) -> Tensor:
    if needs_gradient(x, by) or not (is_large(x) and are_large((x,), (by,))):
        return weighed(x, by).sum(axes)
    by = in_order(x, by)
    along, length = in_cache(x)
    over = [axis % x.dim() for axis in axes]
    parts = torch.split(x, length, along)
    weights, _ = split_along(by, x, along, length)
    found = [(part * own).sum(axes) for part, own in zip(parts, weights, strict=True)]
    if along in over:
        return torch.stack(found).sum(0)
    return torch.cat(found, along - sum(axis < along for axis in over))
