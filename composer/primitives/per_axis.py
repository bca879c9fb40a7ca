"""One number for all axes that an op works on, or a list with one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from composer.errors import counted
from composer.language.expressions import Expr
from composer.language.fields import Amount, Number, Size
from composer.primitives.base import AxisProblem


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) or value is None else [value]


Sizes = Annotated[
    tuple[Size, ...],
    BeforeValidator(
        _listed, json_schema_input_type=Size | Annotated[list[Size], Field(min_length=1)]
    ),
]
Amounts = Annotated[
    tuple[Amount, ...],
    BeforeValidator(
        _listed, json_schema_input_type=Amount | Annotated[list[Amount], Field(min_length=1)]
    ),
]
Numbers = Annotated[
    tuple[Number, ...],
    BeforeValidator(
        _listed, json_schema_input_type=Number | Annotated[list[Number], Field(min_length=1)]
    ),
]


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
