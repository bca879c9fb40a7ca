"""The primitives: one op, one file.

A new one is a file with a subclass of `Primitive`, a line in `AnyPrimitive` below, an example in
`examples.py`, and a row in the law's table of `tests/test_primitives.py`. The schema, the page of
the language, `composer list ops` and the messages come from it.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from composer.language.models import Model, SpecOf
from composer.primitives.apply import Apply
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.attention import Attention
from composer.primitives.base import Primitive
from composer.primitives.branch import Branch
from composer.primitives.chunk import Chunk
from composer.primitives.concat import Concat
from composer.primitives.constant import Constant
from composer.primitives.conv1d import Conv1d
from composer.primitives.conv2d import Conv2d
from composer.primitives.dropout import Dropout
from composer.primitives.flip import Flip
from composer.primitives.fold import Fold
from composer.primitives.gate import Gate
from composer.primitives.linear import Linear
from composer.primitives.merge import Merge
from composer.primitives.mlp import Mlp
from composer.primitives.norm import Normalize
from composer.primitives.pad import Pad
from composer.primitives.parameter import Parameter
from composer.primitives.pick import Pick
from composer.primitives.pool import Pool
from composer.primitives.product import Product
from composer.primitives.rename import Rename
from composer.primitives.repeat import Repeat
from composer.primitives.resize import Resize
from composer.primitives.reweight import Reweight
from composer.primitives.roll import Roll
from composer.primitives.scale import Scale
from composer.primitives.schedule import Schedule
from composer.primitives.split import Split
from composer.primitives.stack import Stack
from composer.primitives.unfold import Unfold
from composer.primitives.unstack import Unstack
from composer.primitives.use import Use

AnyPrimitive = Annotated[
    Apply | Arithmetic | Attention | Branch | Chunk | Concat | Constant | Conv1d | Conv2d | Dropout
    | Flip | Fold | Gate | Linear | Merge | Mlp | Normalize | Pad | Parameter | Pick | Pool
    | Product | Rename | Repeat | Resize | Reweight | Roll | Scale | Schedule | Split | Stack
    | Unfold | Unstack | Use,
    Field(discriminator="op"),
]

for _repeating in (Branch, Repeat):  # each of them holds any op, itself too
    _repeating.model_rebuild(_types_namespace={"AnyPrimitive": AnyPrimitive})

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
