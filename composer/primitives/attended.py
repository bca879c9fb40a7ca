"""Attention as one call of torch's, with the other axes as batch and heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from composer.language.expressions import Expr
from composer.primitives.attention_axes import Parts
from composer.primitives.base import Emitter, whole
from composer.primitives.batch import folded, sizes_of, unfolded


def attended(
    emit: Emitter,
    parts: Parts,
    scale: Any,
    position: Callable[[Emitter, Any, Any], Any] | None,
) -> Any:
    """Emit one call of torch's attention, on [batch, heads, tokens, features].

    Args:
        emit: the emitter.
        parts: the values and their axes.
        scale: a number, a node, or None for 1/√d.
        position: emits additional logits, from the folded queries and the scale.
    """
    from composer.kernels.attention import attention, attention_of_few

    riding, first = parts.riding, max(len(parts.riding) - 1, 0)
    q = _spread(emit, parts, parts.q, (*riding, *parts.over, parts.along))
    k = _spread(emit, parts, parts.k, (*riding, *parts.in_keys, parts.along))
    v = _spread(emit, parts, parts.v, (*riding, *parts.in_keys, *parts.features))
    batched = folded(emit, q, first)
    logits = None if position is None else position(emit, batched, scale)
    options = {} if scale is None else {"scale": scale}
    if scale is not None and not isinstance(scale, float):
        batched, options = emit.method("mul", batched, scale), {"scale": 1.0}
    if (bias := _added(emit, parts, logits, first)) is not None:
        options["attn_mask"] = bias
    over, keys = len(parts.over), len(parts.in_keys)
    tokens = (
        _flat(emit, batched, over + 1, 1),
        _flat(emit, folded(emit, k, first), keys + 1, 1),
        _flat(emit, _one(emit, folded(emit, v, first), len(parts.features)), keys + 1, 1),
    )
    few = bias is None and _has_few_keys(emit, parts)
    node = emit.function(attention_of_few if few else attention, *tokens, **options)
    node = unfolded(emit, node, q, first)
    if over > 1:
        sizes = sizes_of(emit, emit.node(parts.q), emit.axes(parts.q), parts.over)
        node = emit.method("unflatten", node, -2, sizes)
    if len(parts.features) > 1:
        sizes = sizes_of(emit, emit.node(parts.v), emit.axes(parts.v), parts.features)
        node = emit.method("unflatten", node, -1, sizes)
    elif not parts.features:
        node = emit.method("squeeze", node, -1)
    order = (*riding, *parts.over, *parts.features)
    return emit.arrange(node, order, emit.axes(emit.here).names)


def _has_few_keys(emit: Emitter, parts: Parts) -> bool:
    """Return whether there are fewer keys than features, so that the weights are small.

    In attention over channels the number of keys is known, and features are the tokens.
    """
    keys = [emit.axes(parts.k)[axis] for axis in parts.in_keys]
    width = emit.axes(parts.q)[parts.along]
    if not all(size.is_constant for size in keys):
        return False
    return not width.is_constant or math.prod(map(whole, keys)) <= whole(width)


def _spread(
    emit: Emitter, parts: Parts, ref: Expr, want: Sequence[str], but: Sequence[str] = ()
) -> Any:
    """Emit a value with all wanted axes, expanded to full size except for some."""
    have = emit.axes(ref).names
    node = emit.arrange(emit.node(ref), have, tuple(want))
    sizes = [1 if a in have or a in but else _size(emit, parts, a) for a in want]
    if all(isinstance(size, int) and size == 1 for size in sizes):
        return node
    wide = (-1 if a in have or a in but else s for a, s in zip(want, sizes, strict=True))
    return emit.method("expand", node, *wide)


def _size(emit: Emitter, parts: Parts, axis: str) -> Any:
    """Return the size of an axis, or emit a read of it."""
    if parts.sizes[axis].is_constant:
        return whole(parts.sizes[axis])
    there = dict(zip(parts.keys, parts.in_keys, strict=True)).get(axis, axis)
    ref = next(ref for ref in (parts.q, parts.k) if there in emit.axes(ref))
    return emit.method("size", emit.node(ref), emit.axes(ref).index(there))


def _added(emit: Emitter, parts: Parts, logits: Any, first: int) -> Any:
    """Emit what is added to q kᵀ: logits, the bias, -∞ where the mask is 0; None without any."""
    import torch

    bias, seen = (
        None if ref is None else _pairs(emit, parts, ref) for ref in (parts.bias, parts.mask)
    )
    if seen is not None:
        seen = emit.method("ne", seen, 0)
    if bias is not None and seen is not None and logits is None:  # while both are small
        hidden = emit.function(torch.where, seen, bias, -torch.inf)
        return _batched(emit, parts, hidden, (parts.bias, parts.mask), first)
    if bias is not None:
        bias = _batched(emit, parts, bias, (parts.bias,), first)
        logits = bias if logits is None else emit.method("add", logits, bias)
    if seen is None:
        return logits
    seen = _batched(emit, parts, seen, (parts.mask,), first)
    return seen if logits is None else emit.function(torch.where, seen, logits, -torch.inf)


def _pairs(emit: Emitter, parts: Parts, ref: Expr) -> Any:
    """Emit a value as [*riding, queries, keys]; what it lacks has size 1.

    Of several axes of queries or keys it has all or none.
    """
    have = emit.axes(ref)
    absent = [*parts.riding]
    for group in (parts.over, parts.keys):
        if have.without(group) == have:
            absent += group
    node = _spread(emit, parts, ref, (*parts.riding, *parts.over, *parts.keys), absent)
    return _flat(emit, _flat(emit, node, len(parts.keys), 0), len(parts.over) + 1, 1)


def _batched(emit: Emitter, parts: Parts, node: Any, of: Sequence[Expr | None], first: int) -> Any:
    """Emit [*riding, queries, keys] as [batch, heads, queries, keys].

    Where it has some of the axes of the batch, the others are expanded.
    """
    have = {axis for ref in of if ref is not None for axis in emit.axes(ref)}
    batch = parts.riding[:first]
    if have.isdisjoint(batch) or have.issuperset(batch):
        return folded(emit, node, first)
    sizes = (-1 if axis in have else _size(emit, parts, axis) for axis in batch)
    rest = (-1,) * (len(parts.riding) - first + 2)
    return folded(emit, emit.method("expand", node, *sizes, *rest), first)


def _flat(emit: Emitter, x: Any, first: int, last: int) -> Any:
    """Emit x with its last axes merged, starting at `first`, counted from the end."""
    return x if first == last + 1 else emit.method("flatten", x, -first, -last - 1)


def _one(emit: Emitter, x: Any, features: int) -> Any:
    """Emit x with its last axes merged into one axis of features."""
    if features == 0:
        return emit.method("unsqueeze", x, -1)
    return _flat(emit, x, features, 0)
