"""Layers with weights: linear and convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule, per_dim
from composer.lifting.rules.elementwise import binary
from composer.lifting.rules.parts import chunked, picked
from composer.lifting.values import Missing, Numbers, Value


def path_of(value: Value | None, what: str) -> str | None:
    """Return the key of a parameter that is used directly.

    Raises:
        Missing: it is computed.
    """
    if value is None:
        return None
    source = value.source
    if source is None or not source.learned or value.axes != source.axes:
        raise Missing(f"its {what} is computed, not a parameter")
    return source.learned


def is_parameter(value: Value | None) -> bool:
    """Return whether a value is directly a parameter."""
    try:
        path_of(value, "")
    except Missing:
        return False
    return True


def keys(local: str, weight: str | None, bias: str | None) -> dict[str, str]:
    """Return the module's keys for those of a layer."""
    found = {}
    if weight is not None:
        found[f"{local}.weight"] = weight
    if bias is not None:
        found[f"{local}.bias"] = bias
    return found


def _linear(draft: Draft, given: Given) -> Value:
    x, weight = given.x, given.value(1, "weight")
    bias = given.optional(2, "bias")
    out = given.shape[-1]
    if not is_parameter(weight):
        from composer.lifting.rules.products import contracted

        made = contracted(draft, x, weight.at((weight.dims[1], weight.dims[0])))
        return binary(draft, "add", made, bias) if bias is not None else made
    if bias is not None and not is_parameter(bias):
        made = dense(draft, x, len(x.dims) - 1, out, weight, None, 1)
        return binary(draft, "add", made, bias)
    return dense(draft, x, len(x.dims) - 1, out, weight, bias, 1)


def dense(
    draft: Draft,
    x: Value,
    dim: int,
    out: Numbers,
    weight: Value,
    bias: Value | None,
    groups: Any,
) -> Value:
    """Add a fully connected layer along one position."""
    path, of_bias = path_of(weight, "weight"), path_of(bias, "bias")
    x, axis = draft.single(x, dim)
    x = draft.written(x)
    ones = (1,) * draft.runs
    size = x.sizes[axis]
    fields: dict[str, Any] = {"x": x.node, "over": axis}
    if out == ones:
        fields["out"] = {}
    elif out != size:
        fields["out"] = draft.size(out)
    grouped = tuple(groups) if isinstance(groups, tuple) else (groups,) * draft.runs
    if grouped != ones:
        fields["groups"] = draft.size(grouped)
    fields["bias"] = None if bias is not None else False
    dims = (*x.dims[:dim], () if out == ones else (axis,), *x.dims[dim + 1 :])
    made = replace(x, dims=dims, sizes={**x.sizes, axis: out}).at(dims)
    return draft.write("linear", fields, made, keys("linear", path, of_bias))


def _convolution(count: int) -> Rule:
    def rule(draft: Draft, given: Given) -> Value:
        x, weight = given.x, given.value(1, "weight")
        bias = given.optional(2, "bias")
        if len(x.dims) != count + 2:
            raise Missing("its input has no batch")
        stride = per_dim(given.get(3, "stride", 1), count)
        padding = given.get(4, "padding", 0)
        dilation = per_dim(given.get(5, "dilation", 1), count)
        groups = given.vec(given.get(6, "groups", 1))
        kernel = tuple(weight.size(at, draft.runs) for at in range(2, count + 2))
        if padding == "same":
            if any(n % 2 == 0 for size in kernel for n in size):
                raise Missing("an even kernel is padded more on one side")
            pads = tuple(
                tuple(d * (n // 2) for n in size) for d, size in zip(dilation, kernel, strict=True)
            )
        else:
            padding = 0 if padding == "valid" else padding
            pads = tuple(given.vec(one) for one in per_dim(padding, count))
        return convolved(draft, given, x, weight, bias, kernel, stride, pads, dilation, groups)

    return rule


def convolved(
    draft: Draft,
    given: Given,
    x: Value,
    weight: Value,
    bias: Value | None,
    kernel: tuple[Numbers, ...],
    stride: tuple[Any, ...],
    pads: tuple[Numbers, ...],
    dilation: tuple[Any, ...],
    groups: Numbers,
) -> Value:
    """Add a convolution: a pointwise layer, a filter along an axis, or one over a map."""
    ones, count = (1,) * draft.runs, len(kernel)
    learned = is_parameter(weight)
    out = given.shape[1]
    plain = all(k == ones for k in kernel) and set(stride) == {1} and not any(map(any, pads))
    on_map = count == 2 and all(len(dim) == 1 and dim[0] in x.own for dim in x.dims[2:])
    if learned and plain and not on_map:
        return dense(draft, x, 1, out, weight, bias, groups)
    if count == 1:
        if learned and out == ones and not x.dims[1] and set(stride) | set(dilation) == {1}:
            found = _filter(draft, x, weight, bias, kernel[0], pads[0])
            if found is not None:
                return found
        wide = x.at((*x.dims, ()))
        found = _on_map(
            draft, wide, weight, bias, (*kernel, ones), (*stride, 1), (*pads, (0,) * draft.runs),
            (*dilation, 1), groups, (*given.shape, ones),
        )  # fmt: skip
        return found.at(found.dims[:-1])
    if count == 3:
        raise Missing("it is three-dimensional")
    return _on_map(draft, x, weight, bias, kernel, stride, pads, dilation, groups, given.shape)


def _filter(
    draft: Draft,
    x: Value,
    weight: Value,
    bias: Value | None,
    kernel: Numbers,
    padding: Numbers,
) -> Value | None:
    """Add one filter along an axis; without padding, crop its output."""
    if any(n % 2 == 0 for n in kernel):
        return None
    half = tuple(n // 2 for n in kernel)
    if padding not in (half, (0,) * draft.runs):
        return None
    x, axis = draft.single(x, 2)
    x = draft.written(x)
    fields = {
        "x": x.node, "along": axis, "kernel": draft.size(kernel),
        "bias": None if bias is not None else False,
    }  # fmt: skip
    weights = keys("conv", path_of(weight, "weight"), path_of(bias, "bias"))
    made = draft.write("conv1d", fields, x, weights)
    if padding == half or not any(half):
        return made
    middle = tuple(n - 2 * edge for n, edge in zip(x.sizes[axis], half, strict=True))
    return chunked(draft, made, 2, [half, middle, half], ("left", "middle", "right"))[1]


def _on_map(
    draft: Draft,
    x: Value,
    weight: Value,
    bias: Value | None,
    kernel: tuple[Numbers, ...],
    stride: tuple[Any, ...],
    pads: tuple[Numbers, ...],
    dilation: tuple[Any, ...],
    groups: Numbers,
    shape: tuple[Numbers, ...],
) -> Value:
    ones = (1,) * draft.runs
    axes = []
    for dim in (2, 3):
        x, axis = draft.single(x, dim)
        axes.append(axis)
    channels = "c"
    if x.dims[1]:
        x, channels = draft.single(x, 1)
    elif "c" in x.axes:
        channels = draft.axis("c", x.axes)
    x = draft.written(x)
    out, size = shape[1], x.sizes.get(channels, ones)
    fields: dict[str, Any] = {"x": x.node}
    if axes != ["h", "w"]:
        fields["over"] = axes
    if channels != "c":
        fields["channels"] = channels
    usual = tuple(tuple(d * (n // 2) for n in k) for d, k in zip(dilation, kernel, strict=True))
    settings: dict[str, Any] = {
        "stride": None if set(stride) == {1} else _alike(stride),
        "padding": None if pads == usual else _alike(tuple(map(draft.size, pads))),
        "dilation": None if set(dilation) == {1} else _alike(dilation),
        "groups": None if groups == ones else draft.size(groups),
    }
    even = any(n % 2 == 0 for k in kernel for n in k)
    if pads == usual and even:
        settings["padding"] = _alike(tuple(map(draft.size, pads)))
    dims = (x.dims[0], () if out == ones else (channels,), (axes[0],), (axes[1],))
    sizes = {**x.sizes, channels: out, axes[0]: shape[2], axes[1]: shape[3]}
    made = replace(x, dims=dims, sizes=sizes).at(dims)
    if is_parameter(weight):
        fields["kernel"] = _alike(tuple(map(draft.size, kernel)))
        if out == ones:
            fields["out"] = {}
        elif out != size:
            fields["out"] = draft.size(out)
        fields["bias"] = None if bias is not None else False
        weights = keys("conv", path_of(weight, "weight"), path_of(bias, "bias"))
        made = draft.write("conv2d", {**fields, **settings}, made, weights)
    else:
        made = _by_value(draft, weight, bias, {**fields, **settings}, made, out)
    for dim in (2, 3):
        if shape[dim] == ones:
            made = picked(draft, made, dim, 0, keep=True)
    return made


def _by_value(
    draft: Draft,
    weight: Value,
    bias: Value | None,
    fields: dict[str, Any],
    made: Value,
    out: Numbers,
) -> Value:
    """Add a convolution whose kernel is a value."""
    names = ("o", "i", "kh", "kw")
    if out == (1,) * draft.runs:
        raise Missing("its kernel is computed and has one output channel")
    for dim in range(4):
        weight, _ = draft.single(weight, dim)
    weight = draft.rename(weight, {dim[0]: n for dim, n in zip(weight.dims, names, strict=True)})
    weight = draft.written(weight)
    made = draft.write("conv2d", {**fields, "weight": weight.node}, made)
    if bias is None:
        return made
    return binary(draft, "add", made, bias.at((bias.dims[0], (), ())))


def _alike(numbers: tuple[Any, ...]) -> Any:
    return numbers[0] if len(set(numbers)) == 1 else list(numbers)


RULES: dict[str, Rule] = {
    "linear": _linear,
    **{f"conv{n}d": _convolution(n) for n in (1, 2, 3)},
}
