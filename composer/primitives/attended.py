"""The axes of attention, told from those of its values, and the one call that it becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from composer.language.expressions import Expr
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, need_axes, whole
from composer.primitives.batch import folded, sizes_of, unfolded
from composer.primitives.broadcast import meet


@dataclass(frozen=True)
class Parts:
    """Which axis of attention is what.

    q is ``[*riding, *over, along]``, k ``[*riding, *in_keys, along]`` and v ``[*riding, *in_keys,
    *features]``, each maybe without some of those riding along; what is added to the logits, and
    the mask, have some of ``[*riding, *over, *keys]``. `sizes` are of all but the features.
    """

    q: Expr
    k: Expr
    v: Expr
    bias: Expr | None
    mask: Expr | None
    over: tuple[str, ...]
    keys: tuple[str, ...]
    in_keys: tuple[str, ...]
    along: str
    riding: tuple[str, ...]
    features: tuple[str, ...]
    sizes: Mapping[str, Expr]


def parts_of(
    q: Expr,
    k: Expr,
    v: Expr,
    more: Mapping[str, Expr | None],
    axes: Callable[[Expr], Axes],
    order: AxisOrder,
    *,
    over: tuple[str, ...],
    keys: tuple[str, ...],
    along: str,
) -> Parts:
    """Return which axis is what; `more` has the bias and the mask.

    Raises:
        AxisProblem: the values do not suit.
    """
    need_axes(axes(q), over, ("over",), q)
    need_axes(axes(q), (along,), ("along",), q)
    if along in over:
        raise AxisProblem(
            "duplicate-axis",
            f"the axis {along!r} is one of the tokens, so it cannot be the features",
            ("along",),
            "name the axis that the dot product sums over",
        )
    keys = () if keys == over else keys
    _check_names(axes(q), q, over, keys, along)
    in_keys = keys if keys and any(axis in axes(k) for axis in keys) else over
    _check_keys("k", k, axes(k), over, keys, in_keys)
    _check_keys("v", v, axes(v), over, keys, in_keys)
    if along not in axes(k):
        raise AxisProblem(
            "unknown-axis", f"{str(k)!r} has no axis {along!r}", ("k",),
            f"it is {axes(k)}; the dot product sums over an axis of both queries and keys",
        )  # fmt: skip
    gone = {*over, *in_keys, along}
    met = meet([(("q",), q), (("k",), k)], axes, order)
    riding = met.without(gone).names
    features = axes(v).without([*riding, *in_keys]).names
    met = meet(
        [(("q",), q), (("k",), k), (("v",), v)],
        lambda ref: axes(ref).without([along, *features]),
        order,
    )
    sizes = dict(met.sizes) | {
        key: met[axis] for key, axis in zip(keys or over, in_keys, strict=True)
    }
    for word, ref in more.items():
        if ref is not None:
            _check_logits(word, ref, q, k, axes, Axes.of(sizes), keys, order)
    return Parts(
        q, k, v, more.get("bias"), more.get("mask"), over, keys or over, in_keys, along, riding,
        features, sizes,
    )  # fmt: skip


def _check_names(
    axes: Axes, q: Expr, over: tuple[str, ...], keys: tuple[str, ...], along: str
) -> None:
    """Refuse names of keys that mean something else."""
    for index, axis in enumerate(keys):
        whose = None
        if axis in over:
            whose = "is one of the queries"
        elif axis == along:
            whose = "has the features"
        elif axis in keys[:index]:
            whose = "is named twice"
        if whose is not None:
            raise AxisProblem(
                "duplicate-axis",
                f"the axis {axis!r} {whose}, so it cannot be one of the keys",
                ("keys", index),
                "name each axis once"
                if axis in keys[:index]
                else "the keys have axes of their own; omit 'keys' where they are the queries'",
            )
        if axis in axes:
            raise AxisProblem(
                "surplus-axis",
                f"the queries {str(q)!r} have the axis {axis!r} of the keys",
                ("keys", index),
                f"{str(q)!r} is {axes}; name an axis of the keys that the queries lack",
            )


def _check_keys(
    field: str,
    ref: Expr,
    axes: Axes,
    over: tuple[str, ...],
    keys: tuple[str, ...],
    in_keys: tuple[str, ...],
) -> None:
    """Refuse keys or values without the axes of the keys, or with those of the queries, too."""
    if missing := [axis for axis in in_keys if axis not in axes]:
        way_out = f"it is {axes}"
        if not keys:
            way_out += "; keys with axes of their own are named: 'keys: m'"
        raise AxisProblem(
            "unknown-axis", f"{str(ref)!r} has no axis {missing[0]!r}", (field,), way_out
        )
    if in_keys == over and keys and len(keys) != len(over):
        raise AxisProblem(
            "invalid-value",
            f"{str(ref)!r} has the axes of the queries, [{', '.join(over)}], and 'keys' names "
            f"[{', '.join(keys)}] for them",
            ("keys",),
            "name one for each of these",
        )
    if in_keys != over and (shared := [axis for axis in over if axis in axes]):
        raise AxisProblem(
            "surplus-axis",
            f"{str(ref)!r} has {shared[0]!r}, an axis of the queries, beside the keys' "
            f"[{', '.join(keys)}]",
            (field,),
            "where each query has keys of its own, write a product, a gate with fn: softmax, and "
            "a product",
        )


def _check_logits(
    word: str,
    ref: Expr,
    q: Expr,
    k: Expr,
    axes: Callable[[Expr], Axes],
    known: Axes,
    keys: tuple[str, ...],
    order: AxisOrder,
) -> None:
    """Refuse a bias or mask that does not suit the logits."""
    if not keys:
        raise AxisProblem(
            "missing-field",
            f"a {word} tells queries from keys, and both have the same axes here",
            (word,),
            "give those of the keys names of their own, such as 'keys: m'; what "
            f"{str(k)!r} calls them need not change",
        )
    if foreign := [axis for axis in axes(ref) if axis not in known]:
        raise AxisProblem(
            "surplus-axis",
            f"the {word} {str(ref)!r} has the axis {foreign[0]!r}, which the logits have not",
            (word,),
            f"they are {known}",
        )
    if set(keys).isdisjoint(axes(ref)):
        raise AxisProblem(
            "unknown-axis",
            f"the {word} {str(ref)!r} is the same for all keys, so no weight depends on it",
            (word,),
            f"it is {axes(ref)}; the keys have [{', '.join(keys)}]",
        )
    for field, of in (("q", q), ("k", k)):  # each axis is that of the first that has it
        own = known.without(axes(q)) if of is k else known.without(set(known) - set(axes(q)))
        meet([((field,), of), ((word,), ref)], _known_of(of, own, axes), order)


def _known_of(of: Expr, own: Axes, axes: Callable[[Expr], Axes]) -> Callable[[Expr], Axes]:
    return lambda ref: own if ref is of else axes(ref)


def attended(
    emit: Emitter,
    parts: Parts,
    scale: Any,
    position: Callable[[Emitter, Any, Any], Any] | None,
) -> Any:
    """Write one call of torch's attention, on [batch, heads, tokens, features].

    Args:
        emit: what it is written to.
        parts: the values and their axes.
        scale: a number, a node, or None for 1/√d.
        position: what writes further logits, from the folded queries and the scale.
    """
    from torch.nn import functional

    from composer.kernels.features import features_last

    riding, first = parts.riding, max(len(parts.riding) - 1, 0)
    q = _spread(emit, parts, parts.q, (*riding, *parts.over, parts.along))
    k = _spread(emit, parts, parts.k, (*riding, *parts.in_keys, parts.along))
    v = _spread(emit, parts, parts.v, (*riding, *parts.in_keys, *parts.features))
    batched = folded(emit, q, first)
    logits = list(_added(emit, parts, first))
    if position is not None:
        logits.insert(0, position(emit, batched, scale))
    options = {} if scale is None else {"scale": scale}
    if scale is not None and not isinstance(scale, float):
        batched, options = emit.method("mul", batched, scale), {"scale": 1.0}
    if (bias := _masked(emit, parts, logits, first)) is not None:
        options["attn_mask"] = bias
    over, keys = len(parts.over), len(parts.in_keys)
    tokens = (
        _flat(emit, batched, over + 1, 1),
        _flat(emit, folded(emit, k, first), keys + 1, 1),
        _flat(emit, _one(emit, folded(emit, v, first), len(parts.features)), keys + 1, 1),
    )
    node = emit.function(
        functional.scaled_dot_product_attention,
        *(emit.function(features_last, x) for x in tokens),
        **options,
    )
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


def _spread(
    emit: Emitter, parts: Parts, ref: Expr, want: Sequence[str], but: Sequence[str] = ()
) -> Any:
    """Write a value with all axes wanted, each of its full size but for some."""
    have = emit.axes(ref).names
    node = emit.arrange(emit.node(ref), have, tuple(want))
    sizes = [1 if a in have or a in but else _size(emit, parts, a) for a in want]
    if all(isinstance(size, int) and size == 1 for size in sizes):
        return node
    wide = (-1 if a in have or a in but else s for a, s in zip(want, sizes, strict=True))
    return emit.method("expand", node, *wide)


def _size(emit: Emitter, parts: Parts, axis: str) -> Any:
    """Return the size of an axis, or write how it is read."""
    if parts.sizes[axis].is_constant:
        return whole(parts.sizes[axis])
    there = dict(zip(parts.keys, parts.in_keys, strict=True)).get(axis, axis)
    ref = next(ref for ref in (parts.q, parts.k) if there in emit.axes(ref))
    return emit.method("size", emit.node(ref), emit.axes(ref).index(there))


def _added(emit: Emitter, parts: Parts, first: int) -> Iterator[Any]:
    if parts.bias is not None:
        yield _pairs(emit, parts, parts.bias, first)


def _masked(emit: Emitter, parts: Parts, logits: Sequence[Any], first: int) -> Any:
    """Write what is added to the logits, or the mask, or both as one; None without any."""
    import torch

    bias = logits[0] if logits else None
    for other in logits[1:]:
        bias = emit.method("add", bias, other)
    if parts.mask is None:
        return bias
    seen = emit.method("ne", _pairs(emit, parts, parts.mask, first), 0)
    return seen if bias is None else emit.function(torch.where, seen, bias, -torch.inf)


def _pairs(emit: Emitter, parts: Parts, ref: Expr, first: int) -> Any:
    """Write a value as [batch, heads, queries, keys], each of these with one size or the full."""
    groups = (parts.riding[:first], parts.riding[first:], parts.over, parts.keys)
    have = emit.axes(ref)
    absent = [axis for group in groups if have.without(group) == have for axis in group]
    want = (*parts.riding, *parts.over, *parts.keys)
    node = folded(emit, _spread(emit, parts, ref, want, absent), first)
    return _flat(emit, _flat(emit, node, len(parts.keys), 0), len(parts.over) + 1, 1)


def _flat(emit: Emitter, x: Any, first: int, last: int) -> Any:
    """Write x with some of its last axes as one, the `first` of them counted from behind."""
    return x if first == last + 1 else emit.method("flatten", x, -first, -last - 1)


def _one(emit: Emitter, x: Any, features: int) -> Any:
    """Write x, whose last axes are so many features, with one axis of features."""
    if features == 0:
        return emit.method("unsqueeze", x, -1)
    return _flat(emit, x, features, 0)
