"""`pick`: one slice along an axis, which is removed; all others ride along."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.errors import counted
from composer.language.expressions import Expr, difference
from composer.language.fields import Amount, AxisName, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes, whole


class Pick(Primitive):
    """The values at one `index` of an axis, counted from 0."""

    example: ClassVar[str] = """
        parts: {op: split, axis: c, into: {part: 2, c: c / 2}}
        out: {op: pick, axis: part, index: 0}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["pick"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axis: AxisName = Field(description="the axis, which is removed")
    index: Amount = Field(description="which of its values, counted from 0")
    of: Amount | None = Field(
        default=None, description="the number of values that the axis must have; any by default"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes without the one picked from."""
        assert self.x is not None
        need_axes(axes(self.x), (self.axis,), ("axis",), self.x)
        size = axes(self.x)[self.axis]
        whose = f"axis {self.axis!r} of {str(self.x)!r} has {values(size)}"
        if self.of is not None and difference(size, self.of) is not None:
            given = "1 name is given" if self.of.value == 1 else f"{self.of} names are given"
            raise AxisProblem(
                "size-conflict", f"{whose}, and {given}", ("of",), "give one name for each value"
            )
        if size.is_constant and self.index.is_constant and whole(self.index) >= whole(size):
            raise AxisProblem(
                "index-out-of-range",
                f"{whose}, so the index {self.index} is out of range",
                ("index",),
                f"indices go from 0 to {whole(size) - 1}",
            )
        return axes(self.x).without([self.axis])

    def lower(self, emit: Emitter) -> Any:
        """Emit one slice; if others are also picked, all of them at once.

        Their gradients are then stacked once, instead of one zero-filled map per slice.
        """
        assert self.x is not None
        if (found := emit.slices(self.x, self.axis)) is not None:
            slices, order = found
            part = emit.function(operator.getitem, slices, whole(self.index))
            return part if order == tuple(sorted(order)) else emit.method("permute", part, *order)
        where = emit.axes(self.x).index(self.axis)
        return emit.method("select", emit.node(self.x), where, whole(self.index))

    def label(self) -> str:
        """Return such as ``part 0``."""
        return f"{self.axis} {self.index}"

    def formula(self) -> str:
        """Return such as ``x[part = 0]``."""
        return f"x[{self.axis} = {self.index}]"


def values(size: Expr) -> str:
    """Return the number of values of an axis, in words."""
    return counted(whole(size), "value") if size.is_constant else f"{size} values"
