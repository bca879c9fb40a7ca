"""Parts of an axis, and values joined along one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composer.lifting.aligned import aligned
from composer.lifting.draft import Draft
from composer.lifting.formulas import Size
from composer.lifting.given import Given, Rule
from composer.lifting.joined import Vec
from composer.lifting.values import Missing, Numbers, Value, dim_of


def _chunk(draft: Draft, given: Given) -> tuple[Value, ...]:
    dim = dim_of(given.get(2, "dim", 0), len(given.x.dims))
    sizes = [shape[dim] for shape in given.shapes]
    return chunked(draft, given.x, dim, sizes)


def chunked(
    draft: Draft,
    x: Value,
    dim: int,
    sizes: Sequence[Numbers],
    names: Sequence[str] = (),
) -> tuple[Value, ...]:
    """Return consecutive parts of one position."""
    if len(sizes) == 1:
        return (x,)
    if x.dims[dim] and x.dims[dim][0] in x.bare and len(x.dims[dim]) == 1:
        (axis,) = x.dims[dim]
        return tuple(_resized(x, axis, size, draft) for size in sizes)
    x, axis = draft.single(x, dim)
    x = draft.written(x)
    parts = [_resized(x, axis, size, draft) for size in sizes]
    fields: dict[str, Any] = {"x": x.node, "axis": axis}
    ones = [size == (1,) * draft.runs for size in sizes]
    equal = len({*map(tuple, sizes)}) == 1
    if all(ones):
        wishes = list(names) or [f"{axis}_{number}" for number in range(len(sizes))]
        return tuple(draft.write_parts("unstack", fields, parts, wishes))
    if not equal:
        draft.formulas.exact.update(map(tuple, sizes))
        fields["sizes"] = _sizes(x.sizes[axis], sizes)
    wishes = list(names) or [f"part{number}" for number in range(1, len(sizes) + 1)]
    made = draft.write_parts("chunk", {**fields}, [_kept(x, axis, s) for s in sizes], wishes)
    return tuple(
        picked(draft, part, dim, 0, keep=True) if one else part
        for part, one in zip(made, ones, strict=True)
    )


def _sizes(whole: Numbers, sizes: Sequence[Numbers]) -> list[Size]:
    """Return the sizes of parts; the largest is the remainder of the others."""
    largest = max(sizes, key=lambda size: size[0])
    place = [*map(tuple, sizes)].index(tuple(largest))
    found = [Size(tuple(size)) for size in sizes]
    others = tuple(one.numbers for at, one in enumerate(found) if at != place)
    found[place] = Size(tuple(largest), tuple(whole), others)
    return found


def _kept(x: Value, axis: str, size: Numbers) -> Value:
    from dataclasses import replace

    return replace(x, sizes={**x.sizes, axis: size})


def _resized(x: Value, axis: str, size: Numbers, draft: Draft) -> Value:
    """Return x with another size of an axis, which is removed if that is 1."""
    if size == (1,) * draft.runs:
        return x.at(tuple(one for one in dim if one != axis) for dim in x.dims)
    return _kept(x, axis, size)


def _unbind(draft: Draft, given: Given) -> tuple[Value, ...]:
    x = given.x
    dim = dim_of(given.get(1, "dim", 0), len(x.dims))
    x, axis = draft.single(x, dim)
    x = draft.written(x)
    part = x.at((*x.dims[:dim], *x.dims[dim + 1 :]))
    count = len(given.shapes)
    names = ("q", "k", "v") if count == 3 else [f"{axis}_{n}" for n in range(count)]
    return tuple(draft.write_parts("unstack", {"x": x.node, "axis": axis}, [part] * count, names))


def _select(draft: Draft, given: Given) -> Value:
    x = given.x
    return picked(draft, x, dim_of(given.get(1, "dim"), len(x.dims)), given.get(2, "index"))


def picked(draft: Draft, x: Value, dim: int, index: Any, keep: bool = False) -> Value:
    """Return the values at one index of a position, which is removed or keeps size 1."""
    rest = (*x.dims[:dim], *([()] if keep else []), *x.dims[dim + 1 :])
    if not x.dims[dim] or all(axis in x.bare for axis in x.dims[dim]):
        return x.at(rest)
    x, axis = draft.single(x, dim)
    where = tuple(index) if isinstance(index, Vec) else (index,) * draft.runs
    sizes = x.sizes[axis]
    where = tuple(n % size for n, size in zip(where, sizes, strict=True))
    x = draft.written(x)
    fields = {"x": x.node, "axis": axis, "index": draft.size(where)}
    return draft.write("pick", fields, x.at(rest))


def _getitem(draft: Draft, given: Given) -> Value:
    x, key = given.x, given.get(1, "indices")
    keys = list(key) if isinstance(key, tuple) and not isinstance(key, Vec) else [key]
    if any(isinstance(one, Value) for one in keys):
        raise Missing("it is indexed by a tensor")
    used = sum(one is not None and one is not Ellipsis for one in keys)
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(x.dims) - used)
    dim = 0
    for one in keys:
        if one is None:
            x = x.at((*x.dims[:dim], (), *x.dims[dim:]))
            dim += 1
        elif isinstance(one, slice):
            x = _sliced(draft, given, x, dim, one)
            dim += 1
        elif (isinstance(one, int) and not isinstance(one, bool)) or isinstance(one, Vec):
            x = picked(draft, x, dim, one)
        else:
            raise Missing(f"it is indexed by {one!r}")
    return x


def _sliced(draft: Draft, given: Given, x: Value, dim: int, part: slice) -> Value:
    have = x.size(dim, draft.runs)
    bounds = []
    for run, size in enumerate(have):
        one = slice(*(given.vec(n)[run] if n is not None else None for n in
                      (part.start, part.stop, part.step)))  # fmt: skip
        bounds.append(one.indices(size))
    if any(step != 1 for _, _, step in bounds):
        return _stepped(draft, x, dim, bounds)
    before = tuple(start for start, _, _ in bounds)
    kept = tuple(stop - start for start, stop, _ in bounds)
    after = tuple(size - stop for size, (_, stop, _) in zip(have, bounds, strict=True))
    sizes = [size for size in (before, kept, after) if any(size)]
    if kept == (1,) * draft.runs and len(sizes) > 1:
        return picked(draft, x, dim, before[0] if len({*before}) == 1 else Vec(before), keep=True)
    if any(0 in size for size in sizes):
        raise Missing("the slice is empty at some sizes")
    return chunked(draft, x, dim, sizes)[1 if any(before) else 0]


def _stepped(draft: Draft, x: Value, dim: int, bounds: list[tuple[int, int, int]]) -> Value:
    """Return every nth value, if n divides the axis: a split, and one of its parts."""
    x, axis = draft.single(x, dim)
    step, start = bounds[0][2], bounds[0][0]
    sizes = x.sizes[axis]
    whole = all(
        (s, n) == (start, step) and size % step == 0 and stop > size - step
        for (s, stop, n), size in zip(bounds, sizes, strict=True)
    )
    if not whole or step < 2 or start >= step:
        raise Missing(f"it takes every value with a step of {step}, which does not divide the axis")
    taken = {*x.axes}
    inner = draft.axis(axis, taken)
    outer = tuple(size // step for size in sizes)
    parts = {axis: outer, inner: (step,) * draft.runs}
    return picked_axis(draft, draft.split(x, axis, parts), inner, start)


def picked_axis(draft: Draft, x: Value, axis: str, index: int) -> Value:
    """Return the values at one index of an axis at any position."""
    made = x.at(tuple(one for one in dim if one != axis) for dim in x.dims)
    x = draft.written(x)
    return draft.write("pick", {"x": x.node, "axis": axis, "index": index}, made)


def _narrow(draft: Draft, given: Given) -> Value:
    x = given.x
    dim = dim_of(given.get(1, "dim"), len(x.dims))
    start, length = given.vec(given.get(2, "start")), given.vec(given.get(3, "length"))
    have = x.size(dim, draft.runs)
    after = tuple(n - s - k for n, s, k in zip(have, start, length, strict=True))
    sizes = [size for size in (start, length, after) if any(size)]
    return chunked(draft, x, dim, sizes)[1 if any(start) else 0]


def _cat(draft: Draft, given: Given) -> Value:
    values = [_known(one) for one in given.get(0, "tensors")]
    dim = dim_of(given.get(1, "dim", 0), len(values[0].dims))
    if len(values) == 1:
        return values[0]
    ones = [not value.dims[dim] for value in values]
    if all(ones):
        return _stacked(draft, values, dim, keep=True)
    along = next(value.dims[dim] for value, one in zip(values, ones, strict=True) if not one)
    axis = along[0] if len(along) == 1 else draft.single(values[ones.index(False)], dim)[1]
    gathered = []
    for value, one in zip(values, ones, strict=True):
        if one:
            found, name = draft.with_axis(value, dim, axis), axis
        else:
            found, name = draft.single(value, dim)
        gathered.append(draft.rename(found, {name: axis}))
    values = _together(draft, gathered, dim)
    draft.formulas.exact.update(value.sizes[axis] for value in values)
    sizes = zip(*(value.sizes[axis] for value in values), strict=True)
    made = _kept(values[0], axis, tuple(map(sum, sizes)))
    return draft.write("concat", {"of": [value.node for value in values], "axis": axis}, made)


def _known(value: Any) -> Value:
    from composer.lifting.values import Unknown

    if value.unknown:
        raise Unknown
    assert isinstance(value, Value)
    return value


def _together(draft: Draft, values: list[Value], dim: int) -> list[Value]:
    """Return values whose nodes all have the same axes, with the same names."""
    first = values[0]
    found = [first]
    for value in values[1:]:
        bare = [v.at((*v.dims[:dim], (), *v.dims[dim + 1 :])) for v in (first, value)]
        a, b = aligned(draft, *bare)
        if a.axes != bare[0].axes:
            raise Missing("the joined values have different axes")
        names = dict(zip(bare[1].axes, b.axes, strict=True))
        if len(b.axes) != len(a.axes):
            raise Missing("the joined values have different axes")
        found.append(draft.rename(value, names))
    own = {axis for value in found for axis in value.axes}
    return [draft.filled(draft.written(value), own & set(value.axes)) for value in found]


def _stack(draft: Draft, given: Given) -> Value:
    values = [_known(one) for one in given.get(0, "tensors")]
    dim = dim_of(given.get(1, "dim", 0), len(values[0].dims) + 1)
    wide = [value.at((*value.dims[:dim], (), *value.dims[dim:])) for value in values]
    return _stacked(draft, wide, dim, keep=False)


def _stacked(draft: Draft, values: list[Value], dim: int, keep: bool) -> Value:
    """Stack values on a new axis at a new position."""
    from dataclasses import replace

    values = _together(draft, values, dim)
    taken = {axis for value in values for axis in value.axes}
    wish = draft.axis_for(values[0], dim) if keep else "k"
    axis = wish if wish not in taken else draft.axis(wish, taken)
    first = values[0]
    dims = (*first.dims[:dim], (axis,), *first.dims[dim + 1 :])
    sizes = {**first.sizes, axis: (len(values),) * draft.runs}
    made = replace(first, dims=dims, sizes=sizes)
    return draft.write("stack", {"of": [value.node for value in values], "axis": axis}, made)


RULES: dict[str, Rule] = {
    "chunk": _chunk, "split": _chunk, "split_with_sizes": _chunk, "tensor_split": _chunk,
    "unbind": _unbind, "select": _select, "getitem": _getitem, "narrow": _narrow,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "stack": _stack,
}  # fmt: skip
