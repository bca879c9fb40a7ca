"""One number for all axes that an op works on, or a list with one for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from composer.errors import counted
from composer.language.expressions import Expr
from composer.language.source import YamlPath
from composer.primitives.base import AxisProblem, Primitive


def repeated(values: tuple[Expr, ...], over: Sequence[str]) -> tuple[Expr, ...]:
    """Return a single value as often as there are axes, and any other number as they are."""
    return values * len(over) if len(values) == 1 else values


def by_axis(values: tuple[Expr, ...], over: Sequence[str]) -> str:
    """Return the values as a label shows them, wrong numbers of them, too: ``3×3``."""
    return "×".join(map(str, repeated(values, over)))


def alike(numbers: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return numbers as torch takes them: as one, where they are the same."""
    return numbers[0] if len(set(numbers)) == 1 else numbers


def down_and_across(op: Primitive, fields: Iterable[str]) -> tuple[YamlPath, str] | None:
    """Return the first of some fields that has values for fewer axes than `over` names, and why.

    So it is where a map has other places than height and width.
    """
    over: Sequence[str] = getattr(op, "over")  # noqa: B009
    for field in fields:
        if len(getattr(op, field) or ()) not in (0, 1, len(over)):
            return (field,), f"gives {field!r} down and across"
    return None


def for_each(values: tuple[Expr, ...], over: Sequence[str], field: str) -> tuple[Expr, ...]:
    """Return one value for each axis.

    Raises:
        AxisProblem: code ``wrong-number``, where there are neither one nor as many as axes.
    """
    if len(values) not in (1, len(over)):
        raise AxisProblem(
            "wrong-number",
            f"{field!r} has {counted(len(values), 'value')}, and 'over' names "
            f"{len(over)} {'axis' if len(over) == 1 else 'axes'}",
            (field,),
            "write one value for all axes, or one for each",
        )
    return repeated(values, over)
