"""Translates an op on height and width to the spatial axes of a map of other dimensions.

    over [h, w]              over [d, h, w], or over t
    {c: c, h: h, w: w}       {c: c, d: d, h: h, w: w}, or {c: c, t: t}
    h * w                    d * h * w, or t

The same holds for the axes ``kh`` and ``kw`` of a kernel. An op that treats only one of the two
axes, or each differently, is two-dimensional.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from composer.language.expressions import Expr, bind, name
from composer.language.models import Model
from composer.language.source import YamlPath
from composer.primitives.base import Primitive, replaced

#: The names of the spatial axes of a map, by their number.
PLACES: Mapping[int, tuple[str, ...]] = {1: ("t",), 2: ("h", "w"), 3: ("d", "h", "w")}
HW = PLACES[2]

#: The names of the axes of a kernel.
OF_KERNEL: Mapping[int, tuple[str, ...]] = {n: tuple(f"k{p}" for p in PLACES[n]) for n in PLACES}

#: The fields whose axes are ordered, and the fields that name no axis.
_ORDERED = ("axes", "into")
_OTHERS = ("op", "spec", "index", "params")


@dataclass(frozen=True)
class Alone:
    """Why an op is two-dimensional: the field, and what it does."""

    field: YamlPath
    said: str


Op = TypeVar("Op", bound=Primitive)


def at_places(op: Op, places: Sequence[str]) -> tuple[Op, tuple[Alone, ...]]:
    """Return an op on height and width translated to these axes, and what prevents that.

    For a structure such as `branch`, only its own fields are checked, not the op inside.
    """
    alone: list[Alone] = []
    update = {
        field: new
        for field in type(op).model_fields
        if (new := _renamed(field, getattr(op, field), places, alone)) is not None
    }
    op = op.model_copy(update=update) if update else op
    exprs: dict[YamlPath, Expr] = {}
    for path, kind, expr in op.expressions():
        if kind.name in ("node", "word") or not expr.names & set(HW):
            continue
        if counted := sorted(expr.names & set(HW) & set(op.indices(path))):
            alone.append(Alone(path, f"counts along only {counted[0]!r}"))
            continue
        if path[-1] in places and not expr.names & set(HW) - {path[-1]}:
            continue  # the size of one axis, computed from the same axis
        exprs[path] = of_all(expr, places)
        alone += [Alone(path, f"names only {axis!r}") for axis in left_alone(expr)]
    return (replaced(op, exprs) if exprs else op), tuple(alone)


def of_all(expr: Expr, places: Sequence[str]) -> Expr:
    """Return an expression with the number of positions, ``h * w``, translated to these axes."""
    factors = list(_factors(expr))
    if all(factors.count(name(axis)) == 1 for axis in HW):
        rest = [of_all(factor, places) for factor in factors if factor not in map(name, HW)]
        product = [*rest, *map(name, places)]
        total = product[0]
        for factor in product[1:]:
            total = Expr("*", 0, (total, factor))
        return replace(total, start=expr.start, length=expr.length)
    return replace(expr, args=tuple(of_all(arg, places) for arg in expr.args))


def left_alone(expr: Expr) -> list[str]:
    """Return the axes, height or width, that an expression uses separately."""
    return sorted(of_all(expr, PLACES[1]).names & set(HW))


def words(model: Model) -> Iterator[str]:
    """Yield every name that an op defines, of axes and others."""
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, str):
            yield value
        elif isinstance(value, Model):
            yield from words(value)
        elif isinstance(value, tuple | dict):
            yield from (word for word in value if isinstance(word, str))
            if isinstance(value, dict):
                yield from (new for new in value.values() if isinstance(new, str))


def _renamed(field: str, value: object, places: Sequence[str], alone: list[Alone]) -> object | None:
    """Return the value of a field with translated axes; None if nothing changes."""
    if field in _OTHERS:
        return None
    if isinstance(value, str):
        if value in HW:
            alone.append(Alone((field,), f"names only {value!r}"))
        return None
    if isinstance(value, dict) and (named := _by_name(value)):  # as in `use`
        alone.append(Alone((field, named[0]), f"names only {named[1]!r}"))
        return None
    if not isinstance(value, tuple | dict) or not all(isinstance(key, str) for key in value):
        return None
    if isinstance(value, dict) and any(isinstance(new, str) for new in value.values()):
        alone += [Alone((field, key), f"names only {key!r}") for key in value if key in HW]
        return None
    sizes = dict(value) if isinstance(value, dict) else dict.fromkeys(value)
    for pair, instead in ((HW, tuple(places)), (OF_KERNEL[2], OF_KERNEL[len(places)])):
        if not set(pair) & set(sizes):
            continue
        new = _with(sizes, pair, instead, in_order=field in _ORDERED)
        if new is not None:
            sizes = new
        elif pair == HW:
            key = next(iter(axis for axis in sizes if axis in pair))
            where = key if isinstance(value, dict) else list(value).index(key)
            both = set(pair) <= set(sizes)
            said = "does not treat 'h' and 'w' alike" if both else f"names only {key!r}"
            alone.append(Alone((field, where), said))
    if list(sizes) == list(value):
        return None
    return sizes if isinstance(value, dict) else tuple(sizes)


def _by_name(value: Mapping[object, object]) -> tuple[str, str] | None:
    """Return the first key that names height or width itself or by its value, and which."""
    pairs = ((a, b) for a, b in value.items() if isinstance(a, str) and isinstance(b, str))
    return next(((pair[0], axis) for pair in pairs for axis in pair if axis in HW), None)


def _with(
    sizes: dict[str, Expr | None], pair: tuple[str, ...], instead: tuple[str, ...], in_order: bool
) -> dict[str, Expr | None] | None:
    """Return axes with height and width replaced; None if the two are not treated alike."""
    if not set(pair) <= set(sizes):
        return None
    keys = list(sizes)
    at = [keys.index(axis) for axis in pair]
    if in_order and abs(at[0] - at[1]) != 1:
        return None
    first, second = (sizes[axis] for axis in pair)
    if first is not None and _said_of(first, pair[0], pair[1]) != second:
        return None
    if first is not None and pair[1] in first.names:
        return None
    if in_order and at[0] > at[1]:
        instead = instead[::-1]
    new: dict[str, Expr | None] = {}
    for place, key in enumerate(keys):
        if place == min(at):
            new |= {p: first if first is None else _said_of(first, pair[0], p) for p in instead}
        elif key not in pair:
            new[key] = sizes[key]
    return new


def _said_of(expr: Expr, axis: str, other: str) -> Expr:
    """Return an expression with one axis replaced by another."""
    return bind(expr, {axis: name(other)})


def _factors(expr: Expr) -> Iterator[Expr]:
    if expr.kind == "*":
        for arg in expr.args:
            yield from _factors(arg)
    else:
        yield expr
