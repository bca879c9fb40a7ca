"""The reductions of `pool` other than mean, sum and maximum."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from composer.language.expressions import Expr
from composer.primitives.base import Emitter, refers

#: The lower bound of values in the generalised mean, as in the authors' code (arXiv:1711.02512).
LEAST = 1e-6


def side_by_side(emit: Emitter, ref: Expr, over: Sequence[str]) -> tuple[Any, tuple[int, ...]]:
    """Emit a value with adjacent reduced axes merged; also return their dimensions."""
    return _together(emit, emit.node(ref), emit.axes(ref).names, over)


def _together(
    emit: Emitter, node: Any, names: tuple[str, ...], over: Sequence[str]
) -> tuple[Any, tuple[int, ...]]:
    where = sorted(names.index(axis) for axis in over)
    if len(where) > 1 and where == list(range(where[0], where[-1] + 1)):
        return emit.method("flatten", node, where[0], where[-1]), (where[0],)
    return node, tuple(where)


def median(emit: Emitter, ref: Expr, over: Sequence[str]) -> Any:
    """Emit the median; of two middle values the lower one, as in torch."""
    axes = emit.axes(ref)
    rest = axes.without(over).names
    order = (*rest, *(axis for axis in axes if axis in over))
    node = emit.arrange(emit.node(ref), axes.names, order)
    if len(over) > 1:
        node = emit.method("flatten", node, len(rest))
    return emit.function(operator.getitem, emit.method("median", node, len(rest)), 0)


def length(emit: Emitter, ref: Expr, over: Sequence[str]) -> Any:
    """Emit √Σx², with gradient 0 where all x are 0, instead of that of a root at 0."""
    from composer.kernels import length as kernel

    node, where = side_by_side(emit, ref, over)
    return emit.function(kernel.length, node, where)


def power_mean(emit: Emitter, ref: Expr, over: Sequence[str], exponent: Expr) -> Any:
    """Emit (mean of xᵖ)^(1/p), where p is a number, or a value without the reduced axes."""
    names, rest = emit.axes(ref).names, emit.axes(ref).without(over).names
    node = emit.method("clamp", emit.node(ref), min=LEAST)
    p: Any
    root: Any
    if refers(exponent):
        p, root = emit.spread(exponent, names), emit.spread(exponent, rest)
        root = emit.method("reciprocal", root)
    else:
        p = emit.number(exponent)
        root = 1 / p if exponent.is_constant else emit.function(operator.truediv, 1, p)
    node, where = _together(emit, emit.method("pow", node, p), names, over)
    mean = emit.method("mean", node, where[0] if len(where) == 1 else where)
    return emit.method("pow", mean, root)
