"""`pool`: reduce the named axes; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, need_axes
from composer.spec.expressions import Expr, constant
from composer.spec.fields import AxisNames, NodeRef, word


class Pool(Primitive):
    """Reduce `over` the named axes: ``{op: pool, over: [h, w]}`` is the mean of each channel."""

    colour: ClassVar[str] = "reduce"

    op: Literal["pool"]
    x: NodeRef | None = Field(default=None, description="the node above unless told")
    over: AxisNames = Field(min_length=1, description="the axes that go")
    reduce: Annotated[Expr, word("mean", "max", "sum")] = Field(
        default=constant("mean"), description="mean unless told"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes less those reduced."""
        assert self.x is not None
        need_axes(axes(self.x), self.over, ("over",), self.x)
        return axes(self.x).without(self.over)

    def lower(self, emit: Emitter) -> Any:
        """Write the reduction; neighbouring axes are flattened first.

        A mean over one flattened axis runs faster than over two, and `amax`, unlike `max`,
        makes no indices.
        """
        assert self.x is not None
        node, names = emit.node(self.x), emit.axes(self.x).names
        where = sorted(names.index(axis) for axis in self.over)
        if len(where) > 1 and where == list(range(where[0], where[-1] + 1)):
            node = emit.method("flatten", node, where[0], where[-1])
            where = where[:1]
        reduction = {"mean": "mean", "max": "amax", "sum": "sum"}[str(self.reduce.value)]
        return emit.method(reduction, node, where[0] if len(where) == 1 else tuple(where))

    def label(self) -> str:
        """Return such as ``mean over h, w``."""
        return f"{self.reduce} over {', '.join(self.over)}"
