"""Σ x ⊙ g over some axes, where g broadcasts to x; without a gradient no map is written.

The products exist only part by part, while they are in the caches; see `composer.kernels.memory`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from composer.kernels.memory import in_cache, is_large, needs_gradient
from composer.kernels.weighed_sum import are_large, in_order, weighed


def weighed_total(x: Tensor, by: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return ``(x * by).sum(axes)``; `by` broadcasts to x.

    Autocast computes it in half precision, as it does a convolution or a product of matrices.
    """
    if has_torch_function_variadic(x, by):
        return handle_torch_function(weighed_total, (x, by), x, by, axes)
    if _is_cast(x) and torch.float64 not in (x.dtype, by.dtype):
        dtype = torch.get_autocast_dtype(x.device.type)
        return _total(x.to(dtype), by.to(dtype), axes).to(dtype)
    return _total(x, by, axes)


def _total(x: Tensor, by: Tensor, axes: tuple[int, ...]) -> Tensor:
    if needs_gradient(x, by) or not (is_large(x) and are_large((x,), (by,))):
        return weighed(x, by).sum(axes)
    by = in_order(x, by)
    along, length = in_cache(x)
    over = [axis % x.dim() for axis in axes]
    full = by.reshape(*(1 for _ in range(x.dim() - by.dim())), *by.shape)
    parts = torch.split(x, length, along)
    shared = full.shape[along] == 1
    weights = [full] * len(parts) if shared else torch.split(full, length, along)
    found = [(part * own).sum(axes) for part, own in zip(parts, weights, strict=True)]
    if along in over:
        return torch.stack(found).sum(0)
    return torch.cat(found, along - sum(axis < along for axis in over))


def _is_cast(x: Tensor) -> bool:
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
