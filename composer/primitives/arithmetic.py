"""`add`, `sub`, `mul`, `div`: values brought together element by element, by axis name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr
from composer.language.fields import NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive
from composer.primitives.broadcast import meet

_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}
_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷"}


class Arithmetic(Primitive):
    """The operation between all values `of` the list, from the left.

    An axis that only some have is an outer one: ``[b, c]`` times ``[b, h, w]`` is
    ``[b, c, h, w]``.
    """

    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: Literal["add", "sub", "mul", "div"]
    of: tuple[NodeRef, ...] = Field(min_length=2, description="the values, from the left")

    @model_validator(mode="after")
    def _two_where_order_matters(self) -> Arithmetic:
        if self.op in ("sub", "div") and len(self.of) != 2:
            raise ValueError(f"{self.op} takes two values, not {len(self.of)}")
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the union of the axes."""
        return meet([(("of", i), ref) for i, ref in enumerate(self.of)], axes, order)

    def lower(self, emit: Emitter) -> Any:
        """Write the operation between the values, each unsqueezed to all axes."""
        want = emit.axes(emit.here).names
        arranged = [emit.spread(ref, want) for ref in self.of]
        node = arranged[0]
        for other in arranged[1:]:
            node = emit.function(_OPERATORS[self.op], node, other)
        return node

    def label(self) -> str:
        """Return the operation's sign."""
        return _SIGNS[self.op]

    def formula(self) -> str:
        """Return such as ``channel × spatial``."""
        return f" {_SIGNS[self.op]} ".join(map(str, self.of))
