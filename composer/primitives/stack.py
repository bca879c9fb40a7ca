"""`stack`: stacks values on a new axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive
from composer.primitives.broadcast import meet


class Stack(Primitive):
    """Values with equal axes, stacked on a new `axis` whose size is their number."""

    example: ClassVar[str] = """
        mean: {op: pool, over: c}
        max: {op: pool, x: input, over: c, reduce: max}
        out: {op: stack, of: [mean, max], axis: c}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["stack"]
    of: tuple[NodeRef, ...] = Field(min_length=1, description="the values, in order")
    axis: AxisName = Field(description="the new axis")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the shared axes and the new one."""
        shared = meet([(("of", i), ref) for i, ref in enumerate(self.of)], axes, order)
        for index, ref in enumerate(self.of):
            if set(axes(ref)) != set(shared):
                raise AxisProblem(
                    "axes-differ",
                    f"{str(self.of[0])!r} is {axes(self.of[0])} and {str(ref)!r} is {axes(ref)}",
                    ("of", index),
                    "stacked values must have the same axes",
                )
        if self.axis in shared:
            raise AxisProblem(
                "axis-exists",
                f"{str(self.of[0])!r} already has an axis {self.axis!r}",
                ("axis",),
                "give the new axis another name",
            )
        return shared.extended({self.axis: constant(len(self.of))}, order)

    def lower(self, emit: Emitter) -> Any:
        """Write one `torch.stack`."""
        import torch

        where = emit.axes(emit.here).index(self.axis)
        return emit.function(torch.stack, [emit.node(ref) for ref in self.of], where)

    def label(self) -> str:
        """Return such as ``stack on k``."""
        return f"stack on {self.axis}"

    def formula(self) -> str:
        """Return such as ``[max, mean]``."""
        return f"[{', '.join(map(str, self.of))}]"
