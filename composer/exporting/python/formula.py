"""Expressions of a spec as Python, with its Python names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from composer.exporting.python.code import (
    ATOM,
    CHOICE,
    COMPARISON,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Code,
    binary,
    literal,
)
from composer.exporting.python.samples import Sample
from composer.language.expressions import Expr, Value, evaluate

_LEVELS = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT}
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_OF_MATH = {
    "ceil": "math.ceil", "floor": "math.floor", "log": "math.log", "log2": "math.log2",
    "exp": "math.exp", "sqrt": "math.sqrt", "sin": "math.sin", "cos": "math.cos",
}  # fmt: skip


def number(value: Value) -> Code:
    """Return a number, or a word, as Python writes it."""
    if isinstance(value, str):
        return Code(literal(value))
    if isinstance(value, float) and (times := value / math.pi) == int(times) and value:
        return Code("math.pi") if times == 1 else Code(f"{int(times)} * math.pi", PRODUCT)
    if isinstance(value, float) and abs(value) >= 1e6:
        mantissa, _, power = f"{value:e}".partition("e")
        short = f"{float(mantissa):g}e{int(power)}"
        if float(short) == value:
            return Code(short, SIGN if value < 0 else ATOM)
    negative = isinstance(value, (int, float)) and value < 0
    return Code(repr(value), SIGN if negative else ATOM)


def power(base: Code, exponent: Code) -> Code:
    """Return a power, without spaces where both sides are a name or a number."""
    left, right = base.at(ATOM), exponent.at(SIGN)
    simple = all(re.fullmatch(r"-?[\w.]+", side) for side in (left, right))
    return Code(f"{left}**{right}" if simple else f"{left} ** {right}", POWER)


def formula(
    expr: Expr, names: Mapping[str, str], samples: Sequence[Sample], whole: bool = False
) -> Code:
    """Return an expression as Python.

    Args:
        expr: over sizes and params.
        names: their Python names.
        samples: their possible values, which show where ``/`` leaves no remainder.
        whole: whether an integer is needed.
    """
    code = _formula(expr, names, samples)
    return code if not whole or _is_whole(expr, samples) else Code(f"int({code})")


def _formula(expr: Expr, names: Mapping[str, str], samples: Sequence[Sample]) -> Code:
    if expr.is_constant:
        return number(expr.value)
    if expr.kind == "name":
        return Code(names[str(expr.value)])
    args = [_formula(arg, names, samples) for arg in expr.args]
    if expr.kind == "if":
        test, body, orelse = args
        return Code(f"{body.at(2)} if {test.at(2)} else {orelse.at(CHOICE)}", CHOICE)
    if expr.kind == "negative":
        return Code(f"-{args[0].at(SIGN)}", SIGN)
    if expr.kind == "**":
        return power(args[0], args[1])
    if expr.kind in _COMPARISONS:
        return Code(f"{args[0].at(SUM)} {expr.kind} {args[1].at(SUM)}", COMPARISON)
    if expr.kind in _LEVELS:
        sign = "//" if expr.kind == "/" and _is_whole(expr, samples) else expr.kind
        return binary(args[0], sign, args[1], _LEVELS[expr.kind])
    if expr.kind == "odd":
        inner = f"int({args[0]})" if not _is_whole(expr.args[0], samples) else args[0].at(PRODUCT)
        return Code(f"{inner} // 2 * 2 + 1", SUM)
    function = _OF_MATH.get(expr.kind, expr.kind)
    return Code(f"{function}({', '.join(map(str, args))})")


def _is_whole(expr: Expr, samples: Sequence[Sample]) -> bool:
    """Return whether an expression, as written here, is an integer in Python."""
    if expr.kind == "/":
        values = [evaluate(expr, sample.known) for sample in samples]
        return all(isinstance(value, (int, float)) and value == int(value) for value in values)
    if expr.kind in ("ceil", "floor", "round", "odd"):
        return True
    if expr.is_constant:
        return isinstance(expr.value, int)
    if expr.kind == "name":
        return all(isinstance(sample.known[str(expr.value)], int) for sample in samples)
    parts = expr.args[1:] if expr.kind == "if" else expr.args
    simple = expr.kind in ("+", "-", "*", "//", "%", "negative", "min", "max", "abs", "if")
    return simple and all(_is_whole(part, samples) for part in parts)
