"""The roles of the axes in attention, inferred from the axes of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from composer.language.expressions import Expr
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, need_axes
from composer.primitives.broadcast import meet


@dataclass(frozen=True)
class Parts:
    """The roles of the axes in attention.

    q is ``[*riding, *over, along]``, k ``[*riding, *in_keys, along]`` and v ``[*riding, *in_keys,
    *features]``, where some `riding` axes may be missing; bias and mask have some of
    ``[*riding, *over, *keys]``. `sizes` are of all axes but the features.
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
    """Return the roles of the axes; `more` has the bias and the mask.

    Raises:
        AxisProblem: the axes of the operands do not fit together.
    """
    need_axes(axes(q), over, ("over",), q)
    need_axes(axes(q), (along,), ("along",), q)
    if along in over:
        raise AxisProblem(
            "duplicate-axis",
            f"the axis {along!r} is a token axis, so it cannot be the feature axis",
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
    """Refuse names of key axes that mean something else."""
    for index, axis in enumerate(keys):
        whose = None
        if axis in over:
            whose = "is an axis of the queries"
        elif axis == along:
            whose = "is the feature axis"
        elif axis in keys[:index]:
            whose = "is named twice"
        if whose is not None:
            raise AxisProblem(
                "duplicate-axis",
                f"the axis {axis!r} {whose}, so it cannot be an axis of the keys",
                ("keys", index),
                "name each axis once"
                if axis in keys[:index]
                else "the keys need other axes; omit 'keys' if they have those of the queries",
            )
        if axis in axes:
            raise AxisProblem(
                "surplus-axis",
                f"the queries {str(q)!r} also have the axis {axis!r} of the keys",
                ("keys", index),
                f"{str(q)!r} is {axes}; name an axis that only the keys have",
            )


def _check_keys(
    field: str,
    ref: Expr,
    axes: Axes,
    over: tuple[str, ...],
    keys: tuple[str, ...],
    in_keys: tuple[str, ...],
) -> None:
    """Refuse keys or values that lack axes of the keys, or also have those of the queries."""
    if missing := [axis for axis in in_keys if axis not in axes]:
        way_out = f"it is {axes}"
        if not keys:
            way_out += "; if the keys have other axes, name them: 'keys: m'"
        raise AxisProblem(
            "unknown-axis", f"{str(ref)!r} has no axis {missing[0]!r}", (field,), way_out
        )
    if in_keys == over and keys and len(keys) != len(over):
        raise AxisProblem(
            "invalid-value",
            f"{str(ref)!r} has the axes of the queries, [{', '.join(over)}], and 'keys' names "
            f"[{', '.join(keys)}] for them",
            ("keys",),
            "name one for each of them",
        )
    if in_keys != over and (shared := [axis for axis in over if axis in axes]):
        raise AxisProblem(
            "surplus-axis",
            f"{str(ref)!r} has {shared[0]!r}, an axis of the queries, as well as the keys' "
            f"[{', '.join(keys)}]",
            (field,),
            "if each query has its own keys, write a product, a gate with fn: softmax, and "
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
    """Refuse a bias or mask that does not fit the logits."""
    if not keys:
        raise AxisProblem(
            "missing-field",
            f"a {word} needs different axes for queries and keys, and here they are the same",
            (word,),
            "rename the axes of the keys for it, such as 'keys: m'; the axes of "
            f"{str(k)!r} need not change",
        )
    if foreign := [axis for axis in axes(ref) if axis not in known]:
        raise AxisProblem(
            "surplus-axis",
            f"the {word} {str(ref)!r} has the axis {foreign[0]!r}, which the logits do not have",
            (word,),
            f"they are {known}",
        )
    if set(keys).isdisjoint(axes(ref)):
        raise AxisProblem(
            "unknown-axis",
            f"the {word} {str(ref)!r} is the same for all keys, so it has no effect",
            (word,),
            f"it is {axes(ref)}; the keys have [{', '.join(keys)}]",
        )
    for field, of in (("q", q), ("k", k)):  # the first operand that has an axis gives its size
        own = known.without(axes(q)) if of is k else known.without(set(known) - set(axes(q)))
        meet([((field,), of), ((word,), ref)], _known_of(of, own, axes), order)


def _known_of(of: Expr, own: Axes, axes: Callable[[Expr], Axes]) -> Callable[[Expr], Axes]:
    return lambda ref: own if ref is of else axes(ref)
