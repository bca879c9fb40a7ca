"""Equations in LaTeX: names upright, formulas as maths."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from composer.drawing.latex import latex
from composer.graph.formula import Equation

_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_AXES = frozenset("bcdhwnt")
_ESCAPED = {
    " ": r"\ ", "_": r"\_", "#": r"\#", "%": r"\%", "&": r"\&", "{": r"\{", "}": r"\}", "$": r"\$",
    "^": r"\hat{}", "~": r"\sim ", "\\": r"\backslash ",
}  # fmt: skip
_WORDS = r"[A-Za-z]\d(?!\w)|[^\W\d_₀-₉⁰-⁹¹²³]+(?:_[a-z]+)*|√[A-Za-z]\w*|\^(?:\([^()]*\)|[\w.−]+)|."
_SIGNS = {"Σ": r"\sum ", "·": r"\cdot ", "×": r"\times ", "÷": r"\div ", "−": "-", "√": r"\surd ",
          "*": "*", "…": r"\ldots ", "′": "'", "%": r"\%"}  # fmt: skip


def aligned(equations: Sequence[Equation], names: Collection[str]) -> str:
    """Return equations for a paper: an ``aligned`` block, to stand in display maths.

    Args:
        equations: of a graph, in order.
        names: those of all values, typeset upright.
    """
    lines = [f"  {_left(e, names)} &= {right(e, names)}" for e in equations]
    return "\n".join([r"\begin{aligned}", " \\\\\n".join(lines), r"\end{aligned}"])


def right(equation: Equation, names: Collection[str]) -> str:
    """Return the right-hand side."""
    if not equation.is_maths:
        return rf"\mathrm{{{_text(equation.formula)}}}"
    return _maths(equation.formula, names)


def _maths(formula: str, names: Collection[str]) -> str:
    if (root := _first_root(formula)) is not None:
        before, under, after = (_maths(part, names) for part in root)
        return rf"{before}\sqrt{{{under}}}{after}"
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    pattern = rf"(?<!\w)(?:{known})(?!\w)|{_WORDS}" if known else _WORDS
    return "".join(_token(found[0], names) for found in re.finditer(pattern, formula))


def _first_root(formula: str) -> tuple[str, str, str] | None:
    """Return what stands before the first root of a bracket, what in the bracket, what behind."""
    before, _, rest = formula.partition("√(")
    depth = 1
    for place, letter in enumerate(rest):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if not depth:
            return before, rest[:place], rest[place + 1 :]
    return None


def _left(equation: Equation, names: Collection[str]) -> str:
    return _token(equation.name, {*names, equation.name})


def _token(token: str, names: Collection[str]) -> str:
    if token in names and len(token) > 1:
        return rf"\mathrm{{{_text(token)}}}"
    if token[0] == "^" and len(token) > 1:  # a power, such as ^0.5 or ^(1/p)
        power = token[2:-1] if token[1] == "(" else token[1:]
        return rf"^{{{_maths(power, names)}}}"
    if token[0] == "√" and len(token) > 1:
        return rf"\sqrt{{{_maths(token[1:], names)}}}"
    if token in _SIGNS:
        return _SIGNS[token]
    if len(token) == 2 and token[1].isdigit() and token[0].isalpha():
        return f"{token[0]}_{{{token[1]}}}"
    if len(token) > 1 and set(token) <= _AXES:  # a product of sizes: hw
        return token
    if len(token) > 1 and token.isascii():
        return rf"\mathrm{{{_text(token)}}}"
    if token in _SUBSCRIPTS:
        return f"_{{{_SUBSCRIPTS.index(token)}}}"
    if token in _SUPERSCRIPTS:
        return f"^{{{_SUPERSCRIPTS.index(token)}}}"
    if token.isascii():
        return _ESCAPED.get(token, token)
    made = latex(token)
    return f"{made[1:-1]} " if made.startswith("$") else rf"\mathrm{{{made}}}"


def _text(words: str) -> str:
    """Return words for an upright maths font, where a space is a command."""
    return "".join(_ESCAPED.get(c, c) if c.isascii() else _token(c, ()) for c in words)
