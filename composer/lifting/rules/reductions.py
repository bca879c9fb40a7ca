"""Reductions, softmax and pools."""

from __future__ import annotations

from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule, per_dim
from composer.lifting.rules.elementwise import scaled, unary
from composer.lifting.values import Missing, Numbers, Value, dim_of, dims_of, product


def reduced(draft: Draft, x: Value, dims: tuple[int, ...], reduce: str, keep: bool) -> Value:
    """Add a reduction of some positions, each of which then has size 1 or is removed."""
    axes = [axis for dim in dims for axis in x.dims[dim]]
    over = [axis for axis in axes if axis in x.own]
    bare = [axis for axis in axes if axis in x.bare]
    rest: list[tuple[str, ...]] = []
    for at, dim in enumerate(x.dims):
        if at not in dims:
            rest.append(dim)
        elif keep:
            rest.append(())
    made = x.at(rest)
    if over:
        x = draft.written(x)
        fields = {"x": x.node, "over": over, "reduce": None if reduce == "mean" else reduce}
        made = draft.write("pool", fields, made)
    elif reduce in ("std", "var"):
        raise Missing("it is over a single value")
    if bare and reduce == "sum":
        made = scaled(draft, made, product([x.sizes[axis] for axis in bare], draft.runs))
    return made


def _reduce(reduce: str) -> Rule:
    def rule(draft: Draft, given: Given) -> Value:
        x = given.x
        keep = given.get(2, "keepdim", given.kwargs.get("keepdims", False))
        dims = dims_of(given.get(1, "dim", given.kwargs.get("axis")), len(x.dims))
        if not dims:
            dims = tuple(range(len(x.dims)))
        return reduced(draft, x, dims, reduce, bool(keep))

    return rule


def _extreme(reduce: str) -> Rule:
    """Return the rule of ``max`` and ``min``, which also return indices if they have a dim."""

    def rule(draft: Draft, given: Given) -> Any:
        x, dim = given.x, given.get(1, "dim")
        if isinstance(dim, Value):
            raise Missing("it is the elementwise maximum of two tensors")
        if dim is None:
            return reduced(draft, x, tuple(range(len(x.dims))), reduce, False)
        keep = bool(given.get(2, "keepdim", False))
        found = reduced(draft, x, (dim_of(dim, len(x.dims)),), reduce, keep)
        return found, Value("", found.dims, found.sizes, unknown=True)

    return rule


def _spread_of(reduce: str) -> Rule:
    """Return the rule of ``var`` and ``std``, with torch's correction."""

    def rule(draft: Draft, given: Given) -> Value:
        x = given.x
        options = given.kwargs
        dim = options.get("dim", options.get("axis", given.get(1, "dim")))
        if isinstance(dim, bool):
            raise Missing("it is called in its old form", "write var(dim=…, correction=0)")
        biased = options.get("unbiased", given.get(2, "unbiased", True)) is False
        correction = options.get("correction", 0 if biased else 1)
        keep = bool(options.get("keepdim", given.get(3, "keepdim", False)))
        dims = dims_of(dim, len(x.dims))
        found = reduced(draft, x, dims, reduce, keep)
        if not correction:
            return found
        count = product([x.size(at, draft.runs) for at in dims], draft.runs)
        power = 0.5 if reduce == "std" else 1
        factor = tuple((n / (n - correction)) ** power for n in count)
        if len(set(factor)) > 1:
            raise Missing("it divides by the number of values minus one", "pass correction=0")
        return scaled(draft, found, factor[0])

    return rule


def _norm(draft: Draft, given: Given) -> Value:
    x, p = given.x, given.get(1, "p", given.kwargs.get("ord", 2))
    dims = dims_of(given.get(2, "dim"), len(x.dims))
    keep = bool(given.get(3, "keepdim", False))
    if p not in (2, None, "fro"):
        raise Missing(f"it is a norm of order {p!r}")
    squares = reduced(draft, unary(draft, x, "square"), dims, "sum", keep)
    return unary(draft, squares, "sqrt")


def _softmax(draft: Draft, given: Given) -> Value:
    x = given.x
    dim = dim_of(given.get(1, "dim"), len(x.dims))
    return softmax(draft, x, x.dims[dim])


def softmax(draft: Draft, x: Value, axes: tuple[str, ...]) -> Value:
    """Add a softmax over all axes of a position."""
    if not axes:
        raise Missing("it is over a single value, which gives 1")
    x = draft.filled(x, axes)
    return draft.write("gate", {"x": x.node, "fn": "softmax", "over": list(axes)}, x)


def _adaptive(reduce: str, count: int) -> Rule:
    def rule(draft: Draft, given: Given) -> Value:
        x = given.x
        if given.get(2, "return_indices", False):
            raise Missing("it also returns the indices of the largest values")
        first = len(x.dims) - count
        sizes = per_dim(given.get(1, "output_size"), count)
        dims = tuple(range(first, len(x.dims)))
        wanted = [
            x.size(dim, draft.runs) if size is None else given.vec(size)
            for dim, size in zip(dims, sizes, strict=True)
        ]
        gone = tuple(
            dim for dim, size in zip(dims, wanted, strict=True) if size == (1,) * draft.runs
        )
        x = reduced(draft, x, gone, reduce, True) if gone else x
        return resized(draft, x, dict(zip(dims, wanted, strict=True)), reduce)

    return rule


def resized(draft: Draft, x: Value, sizes: dict[int, Numbers], reduce: str) -> Value:
    """Add a pool to given sizes, over the positions whose size changes."""
    from dataclasses import replace

    to: dict[str, Numbers] = {}
    for dim, size in sizes.items():
        if x.size(dim, draft.runs) == size:
            continue
        if not x.dims[dim]:
            raise Missing("it would enlarge an axis")
        x, axis = draft.single(x, dim)
        to[axis] = size
    if not to:
        return x
    x = draft.written(x)
    fields = {
        "x": x.node, "over": list(to), "to": [draft.size(size) for size in to.values()],
        "reduce": None if reduce == "mean" else reduce,
    }  # fmt: skip
    return draft.write("pool", fields, replace(x, sizes={**x.sizes, **to}))


def _windows(reduce: str, count: int) -> Rule:
    def rule(draft: Draft, given: Given) -> Value:
        is_mean = reduce == "mean"
        kernel = per_dim(given.get(1, "kernel_size"), count)
        stride = per_dim(given.get(2, "stride") or kernel, count)
        padding = per_dim(given.get(3, "padding", 0), count)
        if is_mean:
            ceil = given.get(4, "ceil_mode", False)
            counts = given.get(5, "count_include_pad", True)
            if given.get(6, "divisor_override") is not None:
                raise Missing("it has a divisor_override")
        else:
            if per_dim(given.get(4, "dilation", 1), count) != (1,) * count:
                raise Missing("its windows are dilated")
            ceil, counts = given.get(5, "ceil_mode", False), False
        return _pooled(draft, given, reduce, kernel, stride, padding, bool(ceil), bool(counts))

    return rule


def _pooled(
    draft: Draft,
    given: Given,
    reduce: str,
    kernel: tuple[Any, ...],
    stride: tuple[Any, ...],
    padding: tuple[Any, ...],
    ceil: bool,
    counts: bool,
) -> Value:
    from dataclasses import replace

    x, count = given.x, len(kernel)
    if {*kernel, *stride} == {1}:
        return x
    if count != 2:
        raise Missing("its windows are one- or three-dimensional")
    axes, crop = [], {}
    for place in range(count):
        x, axis = draft.single(x, len(x.dims) - count + place)
        axes.append(axis)
        odd = kernel[place] % 2 == 1 and padding[place] == kernel[place] // 2
        tiles = kernel[place] == stride[place] and not padding[place]
        if not odd and not tiles:
            raise Missing(
                f"windows of {kernel[place]} with a stride of {stride[place]} and a padding of "
                f"{padding[place]}",
                "a window must be odd and padded by half, or equal to the stride",
            )
        if tiles and not odd and not ceil:
            size = x.sizes[axis]
            whole = tuple(n // kernel[place] * kernel[place] for n in size)
            name = draft.formulas.size(size)
            if len(set(size)) > 1 or whole != size:
                crop[axis] = (f"{name} // {kernel[place]} * {kernel[place]}", whole)
    x = draft.written(x)
    if crop and any(whole != x.sizes[axis] for axis, (_, whole) in crop.items()):
        x = replace(x, sizes={**x.sizes, **{axis: whole for axis, (_, whole) in crop.items()}})
        to = {axis: text for axis, (text, _) in crop.items()}
        x = draft.write("crop", {"x": x.node, "to": to}, x)
    sizes = dict(zip(axes, given.shape[-count:], strict=True))
    fields = {
        "x": x.node, "over": axes, "reduce": None if reduce == "mean" else reduce,
        "kernel": _alike(kernel), "stride": None if set(stride) == {1} else _alike(stride),
        "count_padding": True if counts and any(padding) else None,
    }  # fmt: skip
    return draft.write("pool", fields, replace(x, sizes={**x.sizes, **sizes}))


def _alike(numbers: tuple[Any, ...]) -> Any:
    return numbers[0] if len(set(numbers)) == 1 else list(numbers)


RULES: dict[str, Rule] = {
    "mean": _reduce("mean"), "sum": _reduce("sum"), "amax": _reduce("max"),
    "amin": _reduce("min"), "max": _extreme("max"), "min": _extreme("min"),
    "var": _spread_of("var"), "std": _spread_of("std"),
    "norm": _norm, "vector_norm": _norm, "linalg_vector_norm": _norm, "softmax": _softmax,
    **{f"adaptive_avg_pool{n}d": _adaptive("mean", n) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive("max", n) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _windows("mean", n) for n in (1, 2, 3)},
    **{f"max_pool{n}d": _windows("max", n) for n in (1, 2, 3)},
}  # fmt: skip
