"""`roll`: shifts values cyclically along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, is_whole
from composer.language.fields import AxisNames, NodeRef, Numbers
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.per_axis import down_and_across, for_each, repeated


class Roll(Primitive):
    """A cyclic shift: the value at i moves to i + `by` along each axis `over` (as in Swin).

    ``{op: roll, over: [h, w], by: -3}`` moves a map by three up and to the left.
    """

    example: ClassVar[str] = """
        shift: {op: roll, over: [h, w], by: -3}
        mix: {op: conv2d, kernel: 3}
        out: {op: roll, over: [h, w], by: 3}
    """
    colour: ClassVar[str] = "combine"
    computed: ClassVar[tuple[str, ...]] = ("by",)

    op: Literal["roll"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, description="the axes along which values move")
    by: Numbers = Field(
        description="the shift, backwards if negative; a list has one number for each axis",
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        need_axes(axes(self.x), self.over, ("over",), self.x)
        for_each(self.by, self.over, "by")
        for index, by in enumerate(self.by):
            if not is_whole(by) and not (by.is_constant and by.value == int(by.value)):
                raise AxisProblem(
                    "invalid-value",
                    f"the shift must be a whole number, and {by} may not be one"
                    if not by.is_constant
                    else f"the shift must be a whole number, and this is {by}",
                    ("by", index),
                    "divide with //, or use ceil or floor",
                )
        return axes(self.x)

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field that gives one value per axis, if any."""
        return down_and_across(self, ("by",))

    def lower(self, emit: Emitter) -> Any:
        """Write one roll; nothing where the shift is zero, for which torch copies too."""
        import torch

        assert self.x is not None
        each = zip(self.over, for_each(self.by, self.over, "by"), strict=True)
        moved = {axis: by for axis, by in each if not (by.is_constant and by.value == 0)}
        if not moved:
            return emit.node(self.x)
        by = tuple(map(emit.size, moved.values()))
        where = tuple(map(emit.axes(self.x).index, moved))
        return emit.function(torch.roll, emit.node(self.x), by, where)

    def label(self) -> str:
        """Return such as ``roll h, w by -3``."""
        return f"roll {', '.join(self.over)} by {', '.join(map(str, self.by))}"

    def formula(self) -> str:
        """Return such as ``x[h − 3, w − 3]``: the value at h comes from h − 3."""
        moved = zip(self.over, repeated(self.by, self.over), strict=False)
        return f"x[{', '.join(_before(axis, by) for axis, by in moved)}]"


def _before(axis: str, by: Expr) -> str:
    if by.is_constant and not isinstance(by.value, str):
        return f"{axis} {'+' if by.value < 0 else '−'} {abs(by.value)}"
    return f"{axis} − {by}" if by.kind == "name" else f"{axis} − ({by})"
