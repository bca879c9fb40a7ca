"""Aligns two values: axes at the same position get the same name, and others different names.

Torch aligns values by position, a spec by name. So an axis that is at another position in the other
value is renamed, and of two axes at the same position one takes the other's name.
"""

from __future__ import annotations

from dataclasses import replace

from composer.lifting.draft import Draft
from composer.lifting.values import Missing, Numbers, Value, product


def aligned(draft: Draft, a: Value, b: Value) -> tuple[Value, Value]:
    """Return two values whose dimensions are aligned from the last one.

    Raises:
        Missing: two positions of the same size have different parts.
    """
    rank = max(len(a.dims), len(b.dims))
    a, b = _widened(a, rank), _widened(b, rank)
    for dim in range(rank):
        a, b = _refined(draft, a, b, dim)
    a, b = _same_names(draft, a, b)
    return _apart(draft, a, b)


def met(a: Value, b: Value) -> Value:
    """Return the combined dimensions of two aligned values, without a node."""
    dims = tuple(one or other for one, other in zip(a.dims, b.dims, strict=True))
    bare = {
        axis
        for axis in (*a.bare, *b.bare)
        if (axis not in a.axes or axis in a.bare) and (axis not in b.axes or axis in b.bare)
    }
    return Value("", dims, {**b.sizes, **a.sizes}, frozenset(bare))


def _widened(value: Value, rank: int) -> Value:
    return replace(value, dims=((),) * (rank - len(value.dims)) + value.dims)


def _refined(draft: Draft, a: Value, b: Value, dim: int) -> tuple[Value, Value]:
    """Return values with the same number and sizes of axes at a position."""
    left, right = a.dims[dim], b.dims[dim]
    if not left or not right:
        return a, b
    sizes = [a.sizes[axis] for axis in left], [b.sizes[axis] for axis in right]
    if sizes[0] == sizes[1]:
        return a, b
    if product(sizes[0], draft.runs) != product(sizes[1], draft.runs):
        raise Missing("two sizes of one dimension differ")
    if len(right) == 1 and len(left) > 1:
        return a, draft.split(b, right[0], _fresh(draft, a, b, left))
    if len(left) == 1 and len(right) > 1:
        return draft.split(a, left[0], _fresh(draft, b, a, right)), b
    raise Missing("a dimension has different parts in the two values")


def _fresh(draft: Draft, like: Value, value: Value, axes: tuple[str, ...]) -> dict[str, Numbers]:
    """Return the parts of an axis, named as in the other value if these names are free."""
    found: dict[str, Numbers] = {}
    for axis in axes:
        taken = {*value.axes, *found}
        found[axis if axis not in taken else draft.axis(axis, taken)] = like.sizes[axis]
    return found


def _same_names(draft: Draft, a: Value, b: Value) -> tuple[Value, Value]:
    """Return values with the same names for axes at the same position."""
    of_a: dict[str, str] = {}
    of_b: dict[str, str] = {}
    for left, right in zip(a.dims, b.dims, strict=True):
        if not left or not right:
            continue
        for one, other in zip(left, right, strict=True):
            if one == other:
                continue
            yields = a.is_free or one in a.bare or (one in b.axes and other not in a.axes)
            if yields and not (b.is_free or other in b.bare):
                of_a[one] = other
            else:
                of_b[other] = one
    return _renamed(draft, a, of_a), _renamed(draft, b, of_b)


def _renamed(draft: Draft, value: Value, names: dict[str, str]) -> Value:
    """Rename axes; another axis with one of the new names is renamed first."""
    if not names:
        return value
    taken = {*value.axes, *names.values()}
    for axis in names.values():
        if axis in value.axes and axis not in names:
            other = draft.axis(axis, taken)
            names = {**names, axis: other}
            taken.add(other)
    return draft.rename(value, names)


def _apart(draft: Draft, a: Value, b: Value) -> tuple[Value, Value]:
    """Return values in which a common name is at the same position."""
    where = {axis: dim for dim, axes in enumerate(a.dims) for axis in axes}
    clash = [
        axis for dim, axes in enumerate(b.dims) for axis in axes
        if axis in where and where[axis] != dim
    ]  # fmt: skip
    taken = {*a.axes, *b.axes}
    names = {}
    for axis in clash:
        names[axis] = draft.axis(axis, taken)
        taken.add(names[axis])
    if b.is_free or not a.is_free or not names:
        return a, draft.rename(b, names)
    return draft.rename(a, names), b
