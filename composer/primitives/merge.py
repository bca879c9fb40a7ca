"""`merge`: merges several axes into one; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisName, AxisNames, NodeRef
from composer.primitives.around import in_parts
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.channels import product


class Merge(Primitive):
    """Several axes as one, in the order written: the last one varies fastest."""

    example: ClassVar[str] = "out: {op: merge, axes: [h, w], into: n}"
    colour: ClassVar[str] = "combine"

    op: Literal["merge"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axes: AxisNames = Field(min_length=1, description="the axes to merge, the slowest first")
    into: AxisName = Field(description="the axis that replaces them")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with `into` replacing several."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.axes, ("axes",), self.x)
        rest = have.without(self.axes)
        if self.into in rest:
            raise AxisProblem(
                "axis-exists",
                f"{str(self.x)!r} already has an axis {self.into!r}",
                ("into",),
                f"choose a name other than {', '.join(rest)}",
            )
        return rest.extended({self.into: product({a: have[a] for a in self.axes})}, order)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it merges spatial axes other than all of them in row-major order."""
        return in_parts(self.axes, places)

    def lower(self, emit: Emitter) -> Any:
        """Emit one flatten of the axes, made adjacent first."""
        assert self.x is not None
        names = emit.axes(emit.here).names
        where = names.index(self.into)
        order = (*names[:where], *self.axes, *names[where + 1 :])
        node = emit.arrange(emit.node(self.x), emit.axes(self.x).names, order)
        if len(self.axes) == 1:
            return node
        return emit.method("flatten", node, where, where + len(self.axes) - 1)

    def label(self) -> str:
        """Return such as ``merge g, d into c``."""
        return f"merge {', '.join(self.axes)} into {self.into}"

    def formula(self) -> str:
        """Return such as ``c = g · d``."""
        return f"{self.into} = {' · '.join(self.axes)}"
