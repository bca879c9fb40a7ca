"""Whether a mechanism is the identity at first: x + γ f(x) with γ = 0, or x ⊙ γ with γ = 1.

A factor of zero around it would leave both without a gradient. So the values that are the input,
or one number, at initialisation are followed through the graph, as far as they are exact: a
parameter initialised to a number, a norm or a layer whose weight is initialised to 0, sums,
products, and the activations at 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from composer.graph.graph import INPUT, Graph
from composer.language.expressions import Expr
from composer.primitives.apply import Apply
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.base import Primitive, refers
from composer.primitives.conv2d import Conv2d
from composer.primitives.gate import Gate
from composer.primitives.linear import Linear
from composer.primitives.norm import Normalize
from composer.primitives.parameter import Parameter
from composer.primitives.reweight import Reweight
from composer.primitives.scale import Scale

#: What a value is at initialisation: the input, one number everywhere, or neither.
Begin = str | float | None

#: The activations whose value at 0 is exact in every dtype, and whose slope there is not 0.
_AT_ZERO = {
    "none": 0.0, "tanh": 0.0, "gelu": 0.0, "silu": 0.0, "hard_swish": 0.0, "elu": 0.0,
    "sigmoid": 0.5, "hard_sigmoid": 0.5,
}  # fmt: skip


def begins_as_input(graph: Graph) -> bool:
    """Return whether the output equals the input until training starts."""
    found: dict[str, Begin] = {INPUT: INPUT}
    for node in graph.in_order():
        assert node.op is not None
        found[node.name] = _begin(node.op, found)
    return found[graph.output] == INPUT


def _begin(op: Primitive, found: Mapping[str, Begin]) -> Begin:
    if isinstance(op, Parameter):
        return _number(op.init.value)
    if isinstance(op, Arithmetic):
        return _combined(op.op, [found[str(x)] if refers(x) else _number(x) for x in op.of])
    if isinstance(op, Reweight) and not op.sum:
        return _combined("mul", [found[str(op.x)], found[str(op.by)]])
    if isinstance(op, Scale):
        return _combined("mul", [found[str(op.x)], _number(op.by)])
    if isinstance(op, Gate | Apply):
        return _activated(op.fn) if found[str(op.x)] == 0 else None
    if isinstance(op, Linear | Conv2d):
        return _activated(op.act) if _gives_zero(op) else None
    if isinstance(op, Normalize):
        of_zero = bool(op.weights_along) and _number(op.scale) == 0
        return _activated(op.act) if of_zero else None
    return None


def _gives_zero(op: Linear | Conv2d) -> bool:
    """Return whether a layer is 0 at initialisation: its norm's weight, or its own and its bias."""
    if op.norm.is_on:
        return bool(op.norm.has_weights) and _number(op.norm.scale) == 0
    if getattr(op, "weight", None) is not None:  # a value, which other nodes compute
        return False
    return _number(op.init.value) == 0 and (not op.has_bias or _number(op.bias_init) == 0)


def _combined(sign: str, of: Sequence[Begin]) -> Begin:
    """Return what a sum, difference, product or quotient is."""
    if sign == "mul" and 0 in of:
        return 0.0
    neutral = 0 if sign in ("add", "sub") else 1
    others = of[1:] if sign in ("sub", "div") else [one for one in of if one != INPUT]
    if of.count(INPUT) == 1 and len(others) == len(of) - 1:
        return INPUT if all(one == neutral for one in others) else None
    numbers = [one for one in of if isinstance(one, float)]
    if len(numbers) < len(of):
        return None
    first, *rest = numbers
    if sign == "add":
        return sum(rest, first)
    if sign == "sub":
        return first - rest[0]
    if sign == "mul":
        return math.prod(numbers)
    return first / rest[0] if rest[0] else None


def _activated(fn: Expr) -> Begin:
    return _AT_ZERO.get(str(fn.value))


def _number(number: Expr | None) -> float | None:
    if number is None or not number.is_constant or not isinstance(number.value, int | float):
        return None
    return float(number.value)
