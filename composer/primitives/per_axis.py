"""One number for all axes that an op works on, or a list with one for each."""

from __future__ import annotations

from collections.abc import Sequence

from composer.errors import counted
from composer.language.expressions import Expr
from composer.primitives.base import AxisProblem


def for_each(values: tuple[Expr, ...], over: Sequence[str], field: str) -> tuple[Expr, ...]:
    """Return one value for each axis.

    Raises:
        AxisProblem: code ``wrong-number``, where there are neither one nor as many as axes.
    """
    if len(values) == 1:
        return values * len(over)
    if len(values) != len(over):
        raise AxisProblem(
            "wrong-number",
            f"{field!r} has {counted(len(values), 'value')}, and 'over' names "
            f"{len(over)} {'axis' if len(over) == 1 else 'axes'}",
            (field,),
            "write one value for all axes, or one for each",
        )
    return values
