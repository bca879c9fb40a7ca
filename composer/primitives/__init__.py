"""The primitives: one op, one file.

To add one, write a file here with a subclass of `Primitive` that defines everything: its fields,
axis rule, lowering, cost, label, formula and an example. It is discovered automatically. The
schema, the page of the language, `composer list ops`, the messages and the laws of
`composer.testing` follow from it; its numbers get a row in the table of `tests/test_primitives.py`.
An op of another distribution is also such a file: see `composer.primitives.found`.
"""

from __future__ import annotations

from composer.language.models import SpecOf
from composer.primitives.found import AnyPrimitive as AnyPrimitive
from composer.primitives.found import OpFields as OpFields
from composer.primitives.found import ops as ops
from composer.primitives.found import own_ops as own_ops
from composer.primitives.found import own_primitives as own_primitives


class Spec(SpecOf[AnyPrimitive]):
    """An attention mechanism as a graph of primitives over named axes."""
