"""`split`: splits one axis into several; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, difference
from composer.language.fields import AxisName, NodeRef, Size
from composer.primitives.around import in_parts
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes, whole
from composer.primitives.channels import inferred, need_free, product


class Split(Primitive):
    """One `axis` as several, of which the first varies slowest.

    ``{op: split, axis: c, into: {g: heads, d: c / heads}}`` divides c among the heads.
    """

    example: ClassVar[str] = "out: {op: split, axis: c, into: {head: 4, d: c / 4}}"
    colour: ClassVar[str] = "combine"

    op: Literal["split"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axis: AxisName = Field(description="the axis to split")
    into: dict[AxisName, Size] = Field(
        min_length=1, description="the axes that replace it; the product of their sizes is its size"
    )

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and tuple(self.into) == tuple(getattr(other, "into", ()))

    def __hash__(self) -> int:
        return hash((self.x, self.axis, tuple(self.into.items())))

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with `axis` replaced."""
        assert self.x is not None
        need_axes(axes(self.x), (self.axis,), ("axis",), self.x)
        have, come_to = axes(self.x)[self.axis], product(self.into)
        rest = axes(self.x).without([self.axis])
        need_free(rest, self.into, self.x, ("into",))
        if difference(have, come_to) is not None:
            raise AxisProblem(
                "size-conflict",
                f"axis {self.axis!r} of {str(self.x)!r} has {have} values, and "
                f"{' × '.join(self.into)} has {come_to}",
                ("into",),
                "choose sizes whose product is that of the axis; / divides exactly, // rounds down",
            )
        return rest.extended(self.into, order)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it splits spatial axes, or merges them other than in row-major order."""
        return self.axis in places or in_parts(tuple(self.into), places)

    def lower(self, emit: Emitter) -> Any:
        """Write one unflatten."""
        assert self.x is not None
        axes, node = emit.axes(self.x), emit.node(self.x)
        where = axes.index(self.axis)
        order = (*axes.names[:where], *self.into, *axes.names[where + 1 :])
        if len(self.into) > 1:
            node = emit.method("unflatten", node, where, self._sizes(emit))
        return emit.arrange(node, order, emit.axes(emit.here).names)

    def _sizes(self, emit: Emitter) -> tuple[Any, ...]:
        """Return the sizes; one open size may be inferred from the others."""
        sizes = self.into.values()
        if all(size.is_constant for size in sizes):
            return inferred(emit, self.into, "into", self.axis)
        if sum(not size.is_constant for size in sizes) == 1:
            return tuple(whole(size) if size.is_constant else -1 for size in sizes)
        return tuple(map(emit.size, sizes))

    def label(self) -> str:
        """Return such as ``split c into g, d``."""
        return f"split {self.axis} into {', '.join(self.into)}"

    def formula(self) -> str:
        """Return such as ``c = g · d``."""
        return f"{self.axis} = {' · '.join(self.into)}"
