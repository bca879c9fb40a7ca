"""`flip`: reverses the order along axes; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, need_axes


class Flip(Primitive):
    """The values along the axes `over`, from the last to the first."""

    example: ClassVar[str] = """
        back: {op: flip, over: w}
        out: {op: add, of: [input, back]}
    """
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: Literal["flip"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, description="the axes whose order is reversed")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        need_axes(axes(self.x), self.over, ("over",), self.x)
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Write one flip."""
        assert self.x is not None
        where = [emit.axes(self.x).index(axis) for axis in self.over]
        return emit.method("flip", emit.node(self.x), where)

    def label(self) -> str:
        """Return such as ``flip w``."""
        return f"flip {', '.join(self.over)}"

    def formula(self) -> str:
        """Return such as ``x[h, −w]``."""
        return f"x[{', '.join(f'−{axis}' for axis in self.over)}]"
