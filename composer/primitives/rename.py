"""`rename`: give axes other names; no value moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisName, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes


class Rename(Primitive):
    """The same values on axes of other names: ``{op: rename, axes: {h: y, w: x}}``.

    So two values that would meet by name stay apart, as the queries and the keys of one map do.
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
        """Return the axes under their new names, each where that name has its place."""
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
                    said = f"{str(self.x)!r} has an axis {new!r} already"
                raise AxisProblem(
                    "axis-exists",
                    said,
                    ("axes", old),
                    f"call {old!r} by another name than {', '.join(taken)}",
                )
            taken[new] = old
        sizes = {self.axes.get(axis, axis): size for axis, size in have.sizes}
        return Axes(()).extended(sizes, order)

    def lower(self, emit: Emitter) -> Any:
        """Write nothing, or a permute where the new names have other places in memory."""
        assert self.x is not None
        names = tuple(self.axes.get(axis, axis) for axis in emit.axes(self.x))
        return emit.arrange(emit.node(self.x), names, emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``rename h, w to y, x``."""
        return f"rename {', '.join(self.axes)} to {', '.join(self.axes.values())}"

    def formula(self) -> str:
        """Return such as ``y = h, x = w``."""
        return ", ".join(f"{new} = {old}" for old, new in self.axes.items())
