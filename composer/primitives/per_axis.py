"""One number for all axes of an op, or a list with one for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from composer.errors import counted
from composer.language.expressions import Expr
from composer.language.source import YamlPath
from composer.primitives.base import AxisProblem, Primitive


def repeated(values: tuple[Expr, ...], over: Sequence[str]) -> tuple[Expr, ...]:
    """Repeat a single value for each axis; return any other number of values unchanged."""
    return values * len(over) if len(values) == 1 else values


def by_axis(values: tuple[Expr, ...], over: Sequence[str]) -> str:
    """Return the values as a label shows them, even if their number is wrong: ``3×3``."""
    return "×".join(map(str, repeated(values, over)))


def alike(numbers: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return numbers in torch's form: a single one if all are equal."""
    return numbers[0] if len(set(numbers)) == 1 else numbers


def down_and_across(op: Primitive, fields: Iterable[str]) -> tuple[YamlPath, str] | None:
    """Return the first field with values for fewer axes than `over` names, and why.

    This happens on a map whose spatial axes are not height and width.
    """
    over: Sequence[str] = getattr(op, "over")  # noqa: B009
    for field in fields:
        if len(getattr(op, field) or ()) not in (0, 1, len(over)):
            return (field,), f"gives {field!r} for height and width"
    return None


def for_each(values: tuple[Expr, ...], over: Sequence[str], field: str) -> tuple[Expr, ...]:
    """Return one value for each axis.

    Raises:
        AxisProblem: code ``wrong-number``, unless there is one value or one for each axis.
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
