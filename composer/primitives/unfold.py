"""`unfold`: the window around each position of a map, on new axes; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.errors import counted
from composer.language.expressions import Expr, constant
from composer.language.fields import Amounts, AxisNames, NodeRef, Sizes
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.per_axis import by_axis, down_and_across, for_each
from composer.primitives.windows import OF_WINDOWS, Slide


class Unfold(Primitive):
    """Windows over the axes `over`, with zero padding; their values go `into` new axes.

    ``{op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}`` of [b, c, h, w] is
    [b, kh, kw, c, h, w]. For windows that do not overlap, use a `split` of each axis instead.
    """

    example: ClassVar[str] = """
        windows: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}
        out: {op: pool, over: [kh, kw], reduce: max}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["unfold"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, max_length=3, description="the axes of the map")
    kernel: Sizes = Field(
        description="the size of a window, odd unless a padding is given; a list has one number "
        "for each axis",
    )
    into: AxisNames = Field(description="the new axes, for the values of a window")
    stride: Sizes = Field(default=(constant(1),), description="the step between windows")
    padding: Amounts | None = Field(
        default=None,
        description="zeros on each side; by default dilation * (kernel // 2), which keeps the size "
        "at stride 1",
    )
    dilation: Sizes = Field(default=(constant(1),), description="the step within a window")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with the number of windows along `over`, and the new ones."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.over, ("over",), self.x)
        slide = self.slide()
        counts = slide.counts(have)
        if len(self.into) != len(self.over):
            named = [counted(len(names), "name") for names in (self.into, self.over)]
            raise AxisProblem(
                "wrong-number",
                f"'into' has {named[0]}, and 'over' has {named[1]}",
                ("into",),
                f"name one new axis for each, such as [{', '.join(f'k{a}' for a in self.over)}]",
            )
        for index, axis in enumerate(self.into):
            if axis in have or axis in self.into[:index]:
                taken = f"{str(self.x)!r} already has" if axis in have else "'into' already names"
                raise AxisProblem(
                    "axis-exists",
                    f"{taken} an axis {axis!r}",
                    ("into", index),
                    f"choose a name other than {', '.join((*have, *self.into[:index]))}",
                )
        for axis, count in counts.items():
            have = have.resized(axis, count)
        return have.extended(dict(zip(self.into, slide.kernel, strict=True)), order)

    def slide(self) -> Slide:
        """Return the windows, with one size for each axis."""
        kernel = for_each(self.kernel, self.over, "kernel")
        return Slide(self.over, kernel, self.stride, self.padding, self.dilation)

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field that gives one value per axis, if any."""
        return down_and_across(self, OF_WINDOWS)

    def lower(self, emit: Emitter) -> Any:
        """Emit one call on [riding, places]."""
        from composer.kernels.windows import unfold

        assert self.x is not None
        axes = emit.axes(self.x)
        riding = axes.without(self.over).names
        x = emit.arrange(emit.node(self.x), axes.names, (*riding, *self.over))
        node = emit.function(unfold, x, *self.slide().numbers())
        order = (*riding, *self.into, *self.over)
        return emit.arrange(node, order, emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``windows of 3×3``."""
        return f"windows of {by_axis(self.kernel, self.over)}"

    def formula(self) -> str:
        """Return such as ``x[h + kh, w + kw]``."""
        pairs = zip(self.over, self.into, strict=False)
        return f"x[{', '.join(f'{axis} + {inner}' for axis, inner in pairs)}]"
