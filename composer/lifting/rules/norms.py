"""Norms: batch, layer, group, instance, rms and l2."""

from __future__ import annotations

from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule
from composer.lifting.rules.elementwise import binary
from composer.lifting.rules.layers import is_parameter, keys, path_of
from composer.lifting.rules.parts import picked
from composer.lifting.values import Missing, Value, dims_of


def _eps(given: Given, place: int, usual: float = 1e-5) -> float | None:
    eps = float(given.get(place, "eps", usual) or usual)
    return None if eps == usual else eps


def _batch_norm(draft: Draft, given: Given) -> Value:
    x = given.x
    if len(x.dims) < 2:
        raise Missing("its value has no channels")
    mean, var = given.get(1, "running_mean"), given.get(2, "running_var")
    if mean is None or var is None:
        raise Missing("it keeps no running statistics", "track_running_stats=True")
    weight, bias = given.optional(3, "weight"), given.optional(4, "bias")
    momentum = given.get(6, "momentum", 0.1)
    one_channel = not x.dims[1]
    x, axis = draft.single(x, 1)
    x = draft.written(x)
    fields = {
        "x": x.node, "over": axis, "eps": _eps(given, 7),
        "momentum": None if momentum in (0.1, None) else momentum,
        "affine": None if weight is not None else "none",
    }  # fmt: skip
    weights = keys("norm", path_of(weight, "weight"), path_of(bias, "bias"))
    for local, one in (("running_mean", mean), ("running_var", var)):
        assert isinstance(one, Value) and one.source is not None
        weights[f"norm.{local}"] = one.source.buffer
    made = draft.write("norm", fields, x, weights)
    return picked(draft, made, 1, 0, keep=True) if one_channel else made


def normed(
    draft: Draft,
    x: Value,
    fields: dict[str, Any],
    weight: Value | None,
    bias: Value | None,
    affine: tuple[str, ...],
    always: bool = True,
) -> Value:
    """Add a norm; a weight without a bias, or a computed one, becomes arithmetic after it.

    Args:
        draft: the spec under construction.
        x: the value to normalise.
        fields: of the node.
        weight: aligned with the dimensions of x.
        bias: likewise.
        affine: the axes along which the norm has weights, if any.
        always: whether the norm has weights by default.
    """
    has_bias = fields["fn"] not in ("rms", "l2")
    own = is_parameter(weight) and (is_parameter(bias) and bias is not None) == has_bias
    x = draft.filled(x, fields["over"])
    fields = {"x": x.node, **fields}
    if weight is not None and own:
        if not always:
            fields["affine"] = list(affine)
        weights = keys("norm", path_of(weight, "weight"), path_of(bias, "bias"))
        return draft.write("norm", fields, x, weights)
    if always:
        fields["affine"] = "none"
    made = draft.write("norm", fields, x)
    if weight is not None:
        made = binary(draft, "mul", made, weight)
    return binary(draft, "add", made, bias) if bias is not None else made


def _layer_norm(draft: Draft, given: Given) -> Value:
    return _of_last(draft, given, "layer", 2, 4)


def _rms_norm(draft: Draft, given: Given) -> Value:
    return _of_last(draft, given, "rms", 2, 3)


def _of_last(draft: Draft, given: Given, fn: str, weight: int, eps: int) -> Value:
    x = given.x
    shape = given.get(1, "normalized_shape")
    count = len(shape) if isinstance(shape, tuple) else 1
    over = tuple(axis for dim in x.dims[-count:] for axis in dim)
    if not over:
        raise Missing("it is over a single value")
    bias = given.optional(3, "bias") if fn == "layer" else None
    fields = {"over": list(over), "fn": fn, "eps": _eps(given, eps)}
    return normed(draft, x, fields, given.optional(weight, "weight"), bias, over)


def _group_norm(draft: Draft, given: Given) -> Value:
    x = given.x
    x, axis = draft.single(x, 1)
    over = [axis, *(one for dim in x.dims[2:] for one in dim)]
    fields = {
        "over": over, "fn": "group", "groups": draft.size(given.vec(given.get(1, "num_groups"))),
        "eps": _eps(given, 4),
    }  # fmt: skip
    wide = ((),) * (len(x.dims) - 2)
    weight, bias = given.optional(2, "weight"), given.optional(3, "bias")
    weight = weight and weight.at((*weight.dims, *wide))
    bias = bias and bias.at((*bias.dims, *wide))
    return normed(draft, x, fields, weight, bias, (axis,))


def _instance_norm(draft: Draft, given: Given) -> Value:
    x = given.x
    x, axis = draft.single(x, 1)
    if given.get(1, "running_mean") is not None:
        raise Missing("it keeps running statistics", "track_running_stats=False")
    over = [one for dim in x.dims[2:] for one in dim]
    wide = ((),) * (len(x.dims) - 2)
    weight, bias = given.optional(3, "weight"), given.optional(4, "bias")
    weight = weight and weight.at((*weight.dims, *wide))
    bias = bias and bias.at((*bias.dims, *wide))
    fields = {"over": over, "fn": "instance", "eps": _eps(given, 7)}
    return normed(draft, x, fields, weight, bias, (axis,), always=False)


def _normalize(draft: Draft, given: Given) -> Value:
    x, p = given.x, given.get(1, "p", 2.0)
    if p != 2:
        raise Missing(f"it is a norm of order {p}")
    dims = dims_of(given.get(2, "dim", 1), len(x.dims))
    over = [axis for dim in dims for axis in x.dims[dim]]
    x = draft.filled(x, over)
    fields = {"x": x.node, "over": over, "fn": "l2", "eps": _eps(given, 3, 1e-12)}
    return draft.write("norm", fields, x)


RULES: dict[str, Rule] = {
    "batch_norm": _batch_norm, "layer_norm": _layer_norm, "rms_norm": _rms_norm,
    "group_norm": _group_norm, "instance_norm": _instance_norm, "normalize": _normalize,
}  # fmt: skip
