"""The primitives: one op, one file.

A new one is a file with a subclass of `Primitive`, a line in `PRIMITIVES` below, and a row in
the law's table of `tests/test_primitives.py`. The schema, `composer list ops` and the messages
come from it.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from composer.primitives.arithmetic import Arithmetic
from composer.primitives.base import Primitive
from composer.primitives.conv1d import Conv1d
from composer.primitives.conv2d import Conv2d
from composer.primitives.gate import Gate
from composer.primitives.linear import Linear
from composer.primitives.mlp import Mlp
from composer.primitives.parameter import Parameter
from composer.primitives.pool import Pool
from composer.primitives.reweight import Reweight
from composer.primitives.stack import Stack
from composer.spec.models import Model, SpecOf

AnyPrimitive = Annotated[
    Arithmetic | Conv1d | Conv2d | Gate | Linear | Mlp | Parameter | Pool | Reweight | Stack,
    Field(discriminator="op"),
]

PRIMITIVES: tuple[type[Primitive], ...] = get_args(get_args(AnyPrimitive)[0])


class Spec(SpecOf[AnyPrimitive]):
    """An attention mechanism as a graph of primitives over named axes."""


def ops() -> dict[str, type[Primitive]]:
    """Return the primitive of each op's name, sorted by name."""
    table = {op: p for p in PRIMITIVES for op in get_args(p.model_fields["op"].annotation)}
    return dict(sorted(table.items()))


def op_fields() -> dict[str, list[str]]:
    """Return the fields of each op, for suggestions, and under ``op.field`` those inside one."""
    fields = {op: list(p.model_fields) for op, p in ops().items()}
    for op, primitive in ops().items():
        for field, info in primitive.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, Model):
                fields[f"{op}.{field}"] = list(info.annotation.model_fields)
    return fields
