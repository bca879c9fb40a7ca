"""Elementwise functions, and arithmetic between values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from composer.lifting.aligned import aligned, met
from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule
from composer.lifting.joined import Vec
from composer.lifting.values import Missing, Unknown, Value

#: Activations by torch's names, with the further arguments that must have the default value.
_ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "relu": ("relu", {}), "relu6": ("relu6", {}), "sigmoid": ("sigmoid", {}),
    "silu": ("silu", {}), "hardsigmoid": ("hard_sigmoid", {}), "hardswish": ("hard_swish", {}),
    "tanh": ("tanh", {}), "softplus": ("softplus", {"beta": 1, "threshold": 20}),
    "selu": ("selu", {}), "mish": ("mish", {}), "gelu": ("gelu", {"approximate": "none"}),
}  # fmt: skip
_NUMBERS = ("sqrt", "rsqrt", "exp", "log", "abs", "square", "reciprocal", "sign", "sin", "cos")
_GATES = ("sigmoid", "hard_sigmoid", "tanh")


def _function(fn: str, defaults: Mapping[str, Any]) -> Rule:
    def rule(draft: Draft, given: Given) -> Value:
        for place, (key, default) in enumerate(defaults.items(), 1):
            if given.get(place, key, default) != default:
                raise Missing(
                    f"{key} is {given.get(place, key)!r}, and only {default!r} is supported"
                )
        return unary(draft, given.x, fn)

    return rule


def unary(draft: Draft, x: Value, fn: str, **settings: Any) -> Value:
    """Add an elementwise function."""
    op = "gate" if fn in _GATES else "apply"
    x = draft.written(x)
    return draft.write(op, {"x": x.node, "fn": fn, **settings}, x)


def _leaky_relu(draft: Draft, given: Given) -> Value:
    slope = given.get(1, "negative_slope", 0.01)
    return unary(draft, given.x, "leaky_relu", slope=None if slope == 0.01 else slope)


def _elu(draft: Draft, given: Given) -> Value:
    alpha = given.get(1, "alpha", 1.0)
    return unary(draft, given.x, "elu", alpha=None if alpha == 1 else alpha)


def _hardtanh(draft: Draft, given: Given) -> Value:
    low, high = given.get(1, "min_val", -1.0), given.get(2, "max_val", 1.0)
    return unary(draft, given.x, "clamp", low=low, high=high)


def _clamp(draft: Draft, given: Given) -> Value:
    low, high = given.get(1, "min"), given.get(2, "max")
    if isinstance(low, Value) or isinstance(high, Value):
        raise Missing("its bounds are tensors")
    return unary(draft, given.x, "clamp", low=low, high=high)


def _power(draft: Draft, given: Given) -> Value:
    exponent = given.get(1, "exponent")
    if isinstance(exponent, Value) or not isinstance(given.get(0, "input"), Value):
        raise Missing("its exponent is a tensor")
    if isinstance(exponent, Vec):
        exponent = draft.formulas.number(exponent)
    return power(draft, given.x, exponent)


def power(draft: Draft, x: Value, exponent: Any) -> Value:
    """Add a power, under its own name if it has one."""
    named = {2: "square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}.get(exponent)
    return unary(draft, x, named) if named else unary(draft, x, "pow", exponent=exponent)


def _negative(draft: Draft, given: Given) -> Value:
    return scaled(draft, given.x, -1)


def scaled(draft: Draft, x: Value, by: Any) -> Value:
    """Add a value times a number."""
    number = draft.formulas.number(by) if isinstance(by, tuple) else by
    if number == 1:
        return x
    x = draft.written(x)
    return draft.write("scale", {"x": x.node, "by": number}, x)


def _arithmetic(op: str, swapped: bool = False) -> Rule:
    def rule(draft: Draft, given: Given) -> Value:
        a, b = given.get(0, "input"), given.get(1, "other")
        alpha = given.kwargs.get("alpha", 1)
        if given.call.op in ("rsub", "rdiv", "rtruediv") or swapped:
            a, b = b, a
        if alpha != 1 or given.kwargs.get("rounding_mode") is not None:
            raise Missing("it has a factor or a rounding mode")
        return binary(draft, op, a, b)

    return rule


def binary(draft: Draft, op: str, a: Any, b: Any) -> Value:
    """Add an operation between two values, or a value and a number."""
    if any(isinstance(one, Value) and one.unknown for one in (a, b)):
        raise Unknown
    values = [one for one in (a, b) if isinstance(one, Value)]
    a, b = (_as_number(draft, one, values) for one in (a, b))
    if isinstance(a, Value) and isinstance(b, Value):
        a, b = aligned(draft, a, b)
        both = met(a, b)
        return draft.write(op, {"of": [draft.node(a), draft.node(b)]}, both)
    value, number = (a, b) if isinstance(a, Value) else (b, a)
    if not isinstance(value, Value):
        raise Missing("it has only numbers as operands")
    if not isinstance(number, (int, float, tuple)):
        raise Missing(f"{number!r} is not a number")
    if op == "mul":
        return scaled(draft, value, number)
    text = draft.formulas.number(number) if isinstance(number, tuple) else number
    if op in ("add", "sub") and text == 0 and isinstance(a, Value):
        return a
    if op == "div" and isinstance(a, Value) and _is_power_of_two(number):
        return scaled(draft, value, 1 / number)
    value = draft.written(value)
    of = [value.node, text] if isinstance(a, Value) else [text, value.node]
    return draft.write(op, {"of": of}, value)


def _is_power_of_two(number: Any) -> TypeGuard[float]:
    """Return whether division by a number equals multiplication by its inverse exactly."""
    return isinstance(number, (int, float)) and bool(number) and math.log2(abs(number)) % 1 == 0


def _as_number(draft: Draft, one: Any, values: list[Value]) -> Any:
    """Return a constant tensor with equal elements as a number."""
    if not isinstance(one, Value) or not one.is_constant or len(values) < 2:
        return one
    assert one.source is not None
    found = []
    for table in one.source.tables:
        first = table.flatten()[:1]
        if not table.numel() or not bool((table == first).all()):
            return one
        found.append(float(first))
    wider = {axis for axis in one.axes if one.sizes[axis] != (1,) * draft.runs}
    other = next(value for value in values if value is not one)
    if wider and len(one.dims) > len(other.dims):
        return one
    return tuple(found) if len(set(found)) > 1 else found[0]


def _addcmul(draft: Draft, given: Given) -> Value:
    if given.kwargs.get("value", 1) != 1:
        raise Missing("it has a factor")
    made = binary(draft, "mul", given.value(1, "tensor1"), given.value(2, "tensor2"))
    return binary(draft, "add", given.x, made)


def _lerp(draft: Draft, given: Given) -> Value:
    a, b, weight = given.x, given.value(1, "end"), given.get(2, "weight")
    return binary(draft, "add", a, binary(draft, "mul", binary(draft, "sub", b, a), weight))


def _glu(draft: Draft, given: Given) -> Value:
    from composer.lifting.rules.parts import chunked
    from composer.lifting.values import dim_of

    x = given.x
    dim = dim_of(given.get(1, "dim", -1), len(x.dims))
    half = tuple(n // 2 for n in x.size(dim, draft.runs))
    value, gate = chunked(draft, x, dim, [half, half], ("value", "gate"))
    return binary(draft, "mul", value, unary(draft, gate, "sigmoid"))


def _same(_draft: Draft, given: Given) -> Value:
    return given.x


def _dropout(draft: Draft, given: Given) -> Value:
    x, p = given.x, given.get(1, "p", 0.5)
    training = given.get(2, "training", True)
    if not p or not training:
        return x
    share = None
    if given.call.op in ("dropout1d", "dropout2d", "feature_dropout"):
        share = [axis for dim in x.dims[2:] for axis in dim]
    x = draft.written(x)
    return draft.write("dropout", {"x": x.node, "p": p, "share": share}, x)


RULES: dict[str, Rule] = {
    **{name: _function(fn, more) for name, (fn, more) in _ACTIVATIONS.items()},
    **{name: _function(name, {}) for name in _NUMBERS},
    "absolute": _function("abs", {}),
    "leaky_relu": _leaky_relu, "elu": _elu, "hardtanh": _hardtanh,
    "clamp": _clamp, "clip": _clamp, "clamp_min": _clamp, "pow": _power,
    "neg": _negative, "negative": _negative,
    **{name: _arithmetic("add") for name in ("add", "radd")},
    **{name: _arithmetic("sub") for name in ("sub", "subtract", "rsub")},
    **{name: _arithmetic("mul") for name in ("mul", "multiply", "rmul")},
    **{name: _arithmetic("div") for name in ("div", "truediv", "true_divide", "rdiv", "rtruediv")},
    "addcmul": _addcmul, "lerp": _lerp, "glu": _glu,
    **dict.fromkeys(
        ("contiguous", "clone", "to", "float", "double", "type_as", "type", "identity",
         "requires_grad", "alias"),
        _same,
    ),
    "dropout": _dropout, "dropout1d": _dropout, "dropout2d": _dropout,
    "feature_dropout": _dropout,
}  # fmt: skip
