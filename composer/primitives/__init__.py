"""The primitives: one op, one file.

A new one is a file here with a subclass of `Primitive` that says all of itself: its fields, its
axis rule, its lowering and cost, its label and formula, an example. It is found by being here. The
schema, the page of the language, `composer list ops`, the messages and the laws of
`composer.testing` come from it; its numbers get a row in the table of `tests/test_primitives.py`.
An op of another distribution is such a file, too: see `composer.primitives.found`.
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
