"""Views: torch's operations on positions, most of which need no node with named axes."""

from __future__ import annotations

from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule
from composer.lifting.values import Missing, Numbers, Value, dim_of, dims_of, product


def _reshape(draft: Draft, given: Given) -> Value:
    return reshaped(draft, given.x, given.shape)


def reshaped(draft: Draft, x: Value, shape: tuple[Numbers, ...]) -> Value:
    """Return a value in another shape: its axes merged, or some of them split.

    Raises:
        Missing: the new dimensions cut across the axes.
    """
    runs = draft.runs
    waiting = [(axis, x.sizes[axis]) for axis in x.axes]  # the remainder of each
    parts: dict[str, list[Numbers]] = {}
    dims: list[list[tuple[str, int]]] = []
    for target in shape:
        have: Numbers = (1,) * runs
        dim: list[tuple[str, int]] = []
        while have != target:
            if not waiting:
                raise Missing("its elements are arranged differently at each size")
            whose, size = waiting.pop(0)
            whole = product([have, size], runs)
            if not all(t % n == 0 for t, n in zip(target, whole, strict=True)):
                wanted = _divided(target, have)
                waiting.insert(0, (whose, _divided(size, wanted)))
                size, whole = wanted, target
            parts.setdefault(whose, []).append(size)
            dim.append((whose, len(parts[whose]) - 1))
            have = whole
        dims.append(dim)
    if waiting:
        raise Missing("the new shape has fewer elements")
    names = {}
    for axis, sizes in parts.items():
        named = _names(draft, x, axis, sizes)
        if len(sizes) > 1:
            x = draft.split(x, axis, dict(zip(named, sizes, strict=True)))
        names[axis] = named
    return x.at(tuple(names[axis][place] for axis, place in dim) for dim in dims)


def _divided(sizes: Numbers, by: Numbers) -> Numbers:
    """Return sizes divided by others.

    Raises:
        Missing: the division is not exact.
    """
    if any(size % part for size, part in zip(sizes, by, strict=True)):
        raise Missing("the new dimensions cut across those of the tensor")
    return tuple(size // part for size, part in zip(sizes, by, strict=True))


def _names(draft: Draft, x: Value, axis: str, sizes: list[Numbers]) -> tuple[str, ...]:
    """Return names for the parts of an axis: heads with d features, spatial windows."""
    if len(sizes) == 1:
        return (axis,)
    wishes: list[str] = []
    constant = [len(set(size)) == 1 for size in sizes]
    if axis in ("h", "w"):
        inner, outer = ("y", "i") if axis == "h" else ("x", "j")
        wishes = [outer, inner, axis][: len(sizes)]
        if len(sizes) > 3:
            wishes = [f"{axis}{number}" for number in range(1, len(sizes) + 1)]
    else:
        for place, size in enumerate(sizes):
            last = place == len(sizes) - 1
            if last and size == draft.formulas.sizes.get("c"):
                wishes.append("c")
            elif last and (not constant[place] or "head" in wishes):
                wishes.append("d")
            elif constant[place] and size[0] <= 4 and "part" not in wishes and not last:
                wishes.append("part" if size[0] == 3 or len(sizes) > 2 else "g")
            elif "head" not in wishes:
                wishes.append("head")
            else:
                wishes.append("d" if last else "g")
    taken = {one for one in x.axes if one != axis}
    found: list[str] = []
    for wish in wishes:
        name = wish if wish not in taken else draft.axis(wish, taken)
        taken.add(name)
        found.append(name)
    return tuple(found)


def _permute(_draft: Draft, given: Given) -> Value:
    x = given.x
    order = given.rest(1) or given.kwargs.get("dims", ())
    return x.at(x.dims[dim] for dim in dims_of(tuple(order), len(x.dims)))


def _transpose(_draft: Draft, given: Given) -> Value:
    x = given.x
    a = dim_of(given.get(1, "dim0"), len(x.dims))
    b = dim_of(given.get(2, "dim1"), len(x.dims))
    dims = list(x.dims)
    dims[a], dims[b] = dims[b], dims[a]
    return x.at(dims)


def _transposed(_draft: Draft, given: Given) -> Value:
    x = given.x
    if given.call.op == "mT":
        return x.at((*x.dims[:-2], x.dims[-1], x.dims[-2]))
    return x.at(reversed(x.dims))


def _movedim(_draft: Draft, given: Given) -> Value:
    x = given.x
    rank = len(x.dims)
    source = dims_of(given.get(1, "source"), rank)
    target = dims_of(given.get(2, "destination"), rank)
    rest = iter([dim for at, dim in enumerate(x.dims) if at not in source])
    moved = {to: x.dims[old] for old, to in zip(source, target, strict=True)}
    return x.at(moved[at] if at in moved else next(rest) for at in range(rank))


def _squeeze(_draft: Draft, given: Given) -> Value:
    x = given.x
    dim = given.get(1, "dim")
    gone = dims_of(dim, len(x.dims))
    return x.at(axes for at, axes in enumerate(x.dims) if at not in gone or axes)


def _unsqueeze(_draft: Draft, given: Given) -> Value:
    x = given.x
    at = dim_of(given.get(1, "dim"), len(x.dims) + 1)
    return x.at((*x.dims[:at], (), *x.dims[at:]))


def _expand(draft: Draft, given: Given) -> Value:
    return spread(draft, given.x, given.shape)


def spread(draft: Draft, x: Value, shape: tuple[Numbers, ...]) -> Value:
    """Return a value broadcast along new axes, which its node does not have."""
    from dataclasses import replace

    dims = ((),) * (len(shape) - len(x.dims)) + x.dims
    sizes, bare, found = dict(x.sizes), set(x.bare), []
    taken = {*x.axes}
    usual = draft.input_axes if len(shape) == len(draft.input_axes) else ()
    for at, (axes, size) in enumerate(zip(dims, shape, strict=True)):
        if not axes and size != (1,) * draft.runs:
            wish = usual[at] if usual else "copies"
            axis = wish if wish not in taken else draft.axis(wish, taken)
            taken.add(axis)
            sizes[axis] = size
            bare.add(axis)
            axes = (axis,)
        found.append(axes)
    return replace(x, dims=tuple(found), sizes=sizes, bare=frozenset(bare))


def _repeat(draft: Draft, given: Given) -> Value:
    x = given.x
    times = given.rest(1) or given.kwargs.get("repeats", ())
    dims = ((),) * (len(times) - len(x.dims)) + x.dims
    if any(axes and number != 1 for axes, number in zip(dims, times, strict=True)):
        raise Missing("it tiles an axis with copies")
    return spread(draft, x, given.shape)


def _flip(draft: Draft, given: Given) -> Value:
    x = draft.written(given.x)
    dims = dims_of(tuple(given.rest(1) or given.kwargs.get("dims", ())), len(x.dims))
    over = [axis for dim in dims for axis in x.dims[dim] if axis in x.own]
    return draft.write("flip", {"x": x.node, "over": over}, x) if over else x


def _roll(draft: Draft, given: Given) -> Value:
    x = given.x
    shifts, dims = given.get(1, "shifts"), given.get(2, "dims")
    if dims is None:
        raise Missing("it rolls the flattened tensor", "pass 'dims'")
    shifts = shifts if isinstance(shifts, tuple) else (shifts,)
    over, by = [], []
    for shift, dim in zip(shifts, dims_of(dims, len(x.dims)), strict=True):
        if not x.dims[dim]:
            continue
        x, axis = draft.single(x, dim)
        over.append(axis)
        by.append(signed(draft, given.vec(shift)))
    return rolled(draft, x, over, by)


def rolled(draft: Draft, x: Value, over: list[str], by: list[Any]) -> Value:
    """Add a roll along axes of a value."""
    by = by[:1] if len(set(by)) == 1 else by
    x = draft.written(x)
    return draft.write("roll", {"x": x.node, "over": over, "by": by}, x) if over else x


def signed(draft: Draft, numbers: Numbers) -> Any:
    """Return an integer, maybe negative, as written in a spec."""
    if all(n >= 0 for n in numbers):
        return draft.formulas.size(numbers)
    found = draft.formulas.size(tuple(-n for n in numbers))
    return -found if isinstance(found, int) else f"-({found})"


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "ravel"), _reshape
    ),
    "permute": _permute,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys(("T", "mT", "t"), _transposed),
    "movedim": _movedim, "moveaxis": _movedim, "squeeze": _squeeze, "unsqueeze": _unsqueeze,
    "expand": _expand, "expand_as": _expand, "broadcast_to": _expand, "repeat": _repeat,
    "tile": _repeat, "flip": _flip, "roll": _roll,
}  # fmt: skip
