"""Windows of a map, padding, and resizing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule, per_dim
from composer.lifting.rules.parts import chunked
from composer.lifting.rules.shapes import rolled, spread
from composer.lifting.values import Missing, Numbers, Value


def _pad(draft: Draft, given: Given) -> Value:
    x, pads = given.x, given.get(1, "pad")
    mode = given.get(2, "mode", "constant")
    amount = given.get(3, "value", 0) or 0
    if mode not in ("constant", "circular") or amount:
        raise Missing(f"its padding is {mode if mode != 'constant' else amount}, not zeros")
    for place in range(len(pads) // 2):
        dim = len(x.dims) - 1 - place
        before, after = given.vec(pads[2 * place]), given.vec(pads[2 * place + 1])
        if not any(before) and not any(after):
            continue
        if any(n < 0 for n in (*before, *after)):
            raise Missing("it crops at the edge")
        pad = _around if mode == "circular" else _with_zeros
        x = pad(draft, x, dim, before, after)
    return x


def _with_zeros(draft: Draft, x: Value, dim: int, before: Numbers, after: Numbers) -> Value:
    """Add zeros at the end, then roll the last of them to the front."""
    x, axis = draft.single(x, dim)
    x = draft.written(x)
    size = tuple(map(sum, zip(x.sizes[axis], before, after, strict=True)))
    made = replace(x, sizes={**x.sizes, axis: size})
    made = draft.write("pad", {"x": x.node, "to": {axis: draft.size(size)}}, made)
    return rolled(draft, made, [axis], [draft.size(before)]) if any(before) else made


def _around(draft: Draft, x: Value, dim: int, before: Numbers, after: Numbers) -> Value:
    """Add circular padding: the last values first, and the first ones last."""
    from composer.lifting.rules.parts import _kept

    x, axis = draft.single(x, dim)
    x = draft.written(x)
    have, pieces = x.sizes[axis], []
    if any(before):
        rest = tuple(n - k for n, k in zip(have, before, strict=True))
        pieces.append(chunked(draft, x, dim, [rest, before], ("most", "last"))[1])
    pieces.append(x)
    if any(after):
        rest = tuple(n - k for n, k in zip(have, after, strict=True))
        pieces.append(chunked(draft, x, dim, [after, rest], ("first", "others"))[0])
    found = [piece if piece.dims[dim] else draft.with_axis(piece, dim, axis) for piece in pieces]
    size = tuple(map(sum, zip(*(piece.sizes[axis] for piece in found), strict=True)))
    fields = {"of": [piece.node for piece in found], "axis": axis}
    return draft.write("concat", fields, _kept(x, axis, size))


def _unfold(draft: Draft, given: Given) -> Value:
    """Add the windows of ``F.unfold``: [b, c, h, w] to [b, c·kh·kw, h·w]."""
    x = given.x
    kernel = per_dim(given.get(1, "kernel_size"), 2)
    dilation = per_dim(given.get(2, "dilation", 1), 2)
    padding = per_dim(given.get(3, "padding", 0), 2)
    stride = per_dim(given.get(4, "stride", 1), 2)
    x, h = draft.single(x, 2)
    x, w = draft.single(x, 3)
    x = draft.written(x)
    taken = {*x.axes}
    into = []
    for wish in ("kh", "kw"):
        into.append(wish if wish not in taken else draft.axis(wish, taken))
        taken.add(into[-1])
    counts = {}
    for place, axis in enumerate((h, w)):
        reach = dilation[place] * (kernel[place] - 1) + 1
        counts[axis] = tuple(
            (n + 2 * padding[place] - reach) // stride[place] + 1 for n in x.sizes[axis]
        )
    usual = tuple(d * (k // 2) for d, k in zip(dilation, kernel, strict=True))
    odd = all(k % 2 for k in kernel)
    fields = {
        "x": x.node, "over": [h, w], "kernel": _alike(kernel), "into": into,
        "stride": None if set(stride) == {1} else _alike(stride),
        "padding": None if padding == usual and odd else _alike(padding),
        "dilation": None if set(dilation) == {1} else _alike(dilation),
    }  # fmt: skip
    inner = {axis: (k,) * draft.runs for axis, k in zip(into, kernel, strict=True)}
    dims = (x.dims[0], (*x.dims[1], *into), (h, w))
    made = replace(x, dims=dims, sizes={**x.sizes, **counts, **inner})
    return draft.write("unfold", fields, made)


def _fold(draft: Draft, given: Given) -> Value:
    """Add the sum of windows of ``F.fold``: [b, c·kh·kw, h·w] to [b, c, h, w]."""
    from composer.lifting.rules.shapes import reshaped

    x = given.x
    size = [given.vec(n) for n in per_dim(given.get(1, "output_size"), 2)]
    kernel = per_dim(given.get(2, "kernel_size"), 2)
    dilation = per_dim(given.get(3, "dilation", 1), 2)
    padding = per_dim(given.get(4, "padding", 0), 2)
    stride = per_dim(given.get(5, "stride", 1), 2)
    counts = [
        tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n in length)
        for length, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    ]
    batch, channels = x.size(0, draft.runs), given.shape[1]
    windows = [(k,) * draft.runs for k in kernel]
    x = reshaped(draft, x, (batch, channels, *windows, *counts))
    axes = [dim[0] for dim in x.dims[2:] if len(dim) == 1]
    if len(axes) != 4:
        raise Missing("its windows have a single value or different parts")
    h, w = axes[2:]
    x = draft.filled(x, axes)
    like = _like(given, {h: size[0], w: size[1]})
    usual = tuple(d * (k // 2) for d, k in zip(dilation, kernel, strict=True))
    fields = {
        "x": x.node, "axes": axes[:2], "over": [h, w], "like": like,
        "stride": None if set(stride) == {1} else _alike(stride),
        "padding": None if padding == usual else _alike(padding),
        "dilation": None if set(dilation) == {1} else _alike(dilation),
    }  # fmt: skip
    sizes = {**x.sizes, h: size[0], w: size[1]}
    made = replace(x, sizes=sizes).at((x.dims[0], x.dims[1], (h,), (w,)))
    return draft.write("fold", fields, made)


def _like(given: Given, sizes: dict[str, Numbers]) -> str:
    """Return a node that has these axes with these sizes.

    Raises:
        Missing: no node has them.
    """
    for value in given.maps():
        own = {axis: value.sizes[axis] for axis in value.own}
        if value.node and not value.unknown and all(own.get(a) == n for a, n in sizes.items()):
            return value.node
    raise Missing("no earlier value has its output size")


def _interpolate(draft: Draft, given: Given) -> Value:
    x, mode = given.x, given.get(3, "mode", "nearest")
    count = len(x.dims) - 2
    target = given.shape[-count:]
    if all(not dim for dim in x.dims[2:]) and mode in ("nearest", "bilinear", "nearest-exact"):
        return spread(draft, x, given.shape)
    if all(x.size(dim + 2, draft.runs) == target[dim] for dim in range(count)):
        return x
    if mode != "nearest" or count != 2:
        raise Missing(
            f"its mode is {mode}", "resize is nearest-neighbour: use mode='nearest' on a map"
        )
    x, h = draft.single(x, 2)
    x, w = draft.single(x, 3)
    x = draft.written(x)
    like = _like(given, {h: target[0], w: target[1]})
    made = replace(x, sizes={**x.sizes, h: target[0], w: target[1]})
    return draft.write("resize", {"x": x.node, "over": [h, w], "like": like}, made)


def _alike(numbers: tuple[Any, ...]) -> Any:
    return numbers[0] if len(set(numbers)) == 1 else list(numbers)


RULES: dict[str, Rule] = {
    "pad": _pad, "im2col": _unfold, "col2im": _fold, "fold": _fold,
    "interpolate": _interpolate, "upsample": _interpolate,
}  # fmt: skip


def _tensor_unfold(draft: Draft, given: Given) -> Value:
    """Add the windows of ``Tensor.unfold``, which become the last dimension."""
    from composer.lifting.values import dim_of

    if "dilation" not in given.kwargs:  # as ``F.unfold`` gives it to torch, by name
        x = given.x
        dim = dim_of(given.get(1, "dimension"), len(x.dims))
        size, step = given.get(2, "size"), given.get(3, "step")
        if not isinstance(size, int) or not isinstance(step, int):
            raise Missing("its window size depends on the input size")
        x, axis = draft.single(x, dim)
        x = draft.written(x)
        wish = f"k{axis}"[:18]
        into = wish if wish not in x.axes else draft.axis(wish, x.axes)
        count = tuple((n - size) // step + 1 for n in x.sizes[axis])
        fields = {
            "x": x.node, "over": [axis], "kernel": size, "into": [into],
            "stride": None if step == 1 else step, "padding": 0,
        }  # fmt: skip
        sizes = {**x.sizes, axis: count, into: (size,) * draft.runs}
        made = replace(x, dims=(*x.dims, (into,)), sizes=sizes)
        return draft.write("unfold", fields, made)
    return _unfold(draft, given)


RULES["unfold"] = _tensor_unfold
