"""Which axis of attention is what, told from the axes of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from composer.language.expressions import Expr
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, need_axes
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
