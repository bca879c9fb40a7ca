"""What the operations and functions of an expression compute, and the named constants."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any


def _odd(x: float) -> int:
    whole = int(x)
    return whole if whole % 2 else whole + 1


def _log(x: float) -> float:
    if x <= 0:
        raise ValueError("a logarithm needs a positive number")
    return math.log(x)


def _log2(x: float) -> float:
    if x <= 0:
        raise ValueError("a logarithm needs a positive number")
    return math.log2(x)


def _sqrt(x: float) -> float:
    if x < 0:
        raise ValueError("a square root needs a number from 0")
    return math.sqrt(x)


#: What each operation but ``if`` computes.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "**": operator.pow, "negative": operator.neg,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
    "min": min, "max": max, "abs": abs, "ceil": math.ceil, "floor": math.floor, "round": round,
    "log": _log, "log2": _log2, "exp": math.exp, "sqrt": _sqrt, "sin": math.sin, "cos": math.cos,
    "odd": _odd,
}  # fmt: skip

#: The functions an expression may call, with the number of their arguments (low, high).
FUNCTIONS: dict[str, tuple[int, int]] = {
    "min": (2, 8), "max": (2, 8), "abs": (1, 1), "ceil": (1, 1), "floor": (1, 1),
    "round": (1, 1), "log": (1, 1), "log2": (1, 1), "exp": (1, 1), "sqrt": (1, 1),
    "sin": (1, 1), "cos": (1, 1), "odd": (1, 1),
}  # fmt: skip

#: Names with a fixed value.
NUMBERS = {"pi": math.pi}
