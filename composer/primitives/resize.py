"""`resize`: resizes two axes to their sizes in another value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, need_axes
from composer.primitives.batch import on_maps, sizes_of


class Resize(Primitive):
    """Nearest-neighbour interpolation of the two axes `over` to their sizes in `like`.

    Gather-excite upsamples in this way (arXiv:1810.12348, section 3.1).
    """

    example: ClassVar[str] = """
        small: {op: pool, over: [h, w], kernel: 2, stride: 2}
        out: {op: resize, over: [h, w], like: input}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["resize"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=2, max_length=2, description="the two axes of the map")
    like: NodeRef = Field(description="the value that gives the new sizes")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes, two of them resized."""
        assert self.x is not None
        have = axes(self.x)
        for whose in (self.x, self.like):
            need_axes(axes(whose), self.over, ("over",), whose)
        for axis in self.over:
            have = have.resized(axis, axes(self.like)[axis])
        return have

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return true: that is what it is for."""
        return True

    def lower(self, emit: Emitter) -> Any:
        """Emit one interpolation, or nothing if the sizes already equal those of `like`."""
        from torch.nn import functional

        assert self.x is not None
        axes, like = emit.axes(self.x), emit.axes(self.like)
        if all(axes[axis] == like[axis] for axis in self.over):
            return emit.node(self.x)
        over = [axis for axis in axes if axis in self.over]
        size = sizes_of(emit, emit.node(self.like), like, over)

        def resized(x: Any) -> Any:
            return emit.function(functional.interpolate, x, size=size, mode="nearest")

        return on_maps(emit, emit.node(self.x), axes, over, resized)

    def label(self) -> str:
        """Return such as ``resize h, w like input``."""
        return f"resize {', '.join(self.over)} like {self.like}"

    def formula(self) -> str:
        """Return ``nearest(x)``: the nearest value at each position."""
        return "nearest(x)"

    def carries(self) -> tuple[Expr, ...]:
        """Return only x, because only the sizes of `like` are read."""
        return tuple(ref for path, ref in self.operands() if path != ("like",))
