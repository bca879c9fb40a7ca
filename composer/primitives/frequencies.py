"""What the ops of the Fourier transform share: how many frequencies, and their two parts."""

from __future__ import annotations

from composer.language.expressions import Expr, bind, constant, difference
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem


def frequencies(size: Expr) -> Expr:
    """Return how many frequencies are kept for so many values: n // 2 + 1."""
    return bind(Expr("+", 0, (Expr("//", 0, (size, constant(2))), constant(1))), {})


def need_parts(axes: Axes, parts: str, whose: Expr) -> None:
    """Refuse a value without an axis of two for the parts of its complex numbers.

    Raises:
        AxisProblem: code ``unknown-axis`` or ``wrong-number``.
    """
    if parts not in axes:
        raise AxisProblem(
            "unknown-axis", f"{str(whose)!r} has no axis {parts!r}", ("parts",),
            f"its axes are {axes}",
        )  # fmt: skip
    if difference(axes[parts], constant(2)) is not None:
        raise AxisProblem(
            "wrong-number",
            f"a complex number has 2 parts, and axis {parts!r} of {str(whose)!r} has {axes[parts]}",
            ("parts",),
            "name the axis that rfft made",
        )
