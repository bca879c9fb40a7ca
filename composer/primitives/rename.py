"""`rename`: renames axes; the values do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisName, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes


class Rename(Primitive):
    """The same values with renamed axes: ``{op: rename, axes: {h: y, w: x}}``.

    This keeps the axes of two values distinct, such as the queries and the keys of one map.
    """

    example: ClassVar[str] = """
        columns: {op: rename, axes: {h: y}}
        logits: {op: product, of: [input, columns], sum: c}
        out: {op: gate, fn: softmax, over: y}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["rename"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axes: dict[AxisName, AxisName] = Field(
        min_length=1, description="the new name of each axis, such as {h: y, w: x}"
    )

    def __hash__(self) -> int:
        return hash((self.x, frozenset(self.axes.items())))

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes under their new names, in memory order."""
        assert self.x is not None
        have = axes(self.x)
        for axis in self.axes:
            if axis not in have:
                need_axes(have, (axis,), ("axes", axis), self.x)
        taken = {axis: axis for axis in have if axis not in self.axes}
        for old, new in self.axes.items():
            if new in taken:
                said = f"{taken[new]!r} and {old!r} would both be {new!r}"
                if taken[new] == new:
                    said = f"{str(self.x)!r} already has an axis {new!r}"
                raise AxisProblem(
                    "axis-exists",
                    said,
                    ("axes", old),
                    f"choose a name for {old!r} other than {', '.join(taken)}",
                )
            taken[new] = old
        sizes = {self.axes.get(axis, axis): size for axis, size in have.sizes}
        return Axes(()).extended(sizes, order)

    def lower(self, emit: Emitter) -> Any:
        """Emit nothing, or a permute if the new names come in another memory order."""
        assert self.x is not None
        names = tuple(self.axes.get(axis, axis) for axis in emit.axes(self.x))
        return emit.arrange(emit.node(self.x), names, emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``rename h, w to y, x``."""
        return f"rename {', '.join(self.axes)} to {', '.join(self.axes.values())}"

    def formula(self) -> str:
        """Return such as ``y = h, x = w``."""
        return ", ".join(f"{new} = {old}" for old, new in self.axes.items())
