"""`fold`: adds up windows at the positions of the map that they were taken from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.errors import counted
from composer.language.expressions import Expr, constant, difference
from composer.language.fields import Amounts, AxisNames, NodeRef, Sizes
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.batch import sizes_of
from composer.primitives.per_axis import down_and_across
from composer.primitives.windows import OF_WINDOWS, Slide


class Fold(Primitive):
    """The sum of all windows at each position of the axes `over`; `axes` are those of a window.

    ``{op: fold, axes: [kh, kw], over: [h, w], like: input}`` is the adjoint of `unfold` with the
    same stride, padding and dilation; as in outlook attention (arXiv:2106.13112).
    """

    example: ClassVar[str] = """
        windows: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}
        gate: {op: gate}
        out: {op: fold, axes: [kh, kw], over: [h, w], like: input}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["fold"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axes: AxisNames = Field(
        min_length=1, max_length=3, description="the axes of a window, which are removed: [kh, kw]"
    )
    over: AxisNames = Field(description="the axes of the map, in the same order")
    like: NodeRef = Field(description="the value that gives the sizes of the map")
    stride: Sizes = Field(default=(constant(1),), description="the step between windows")
    padding: Amounts | None = Field(
        default=None,
        description="how far windows reach beyond each side; dilation * (kernel // 2) by default",
    )
    dilation: Sizes = Field(default=(constant(1),), description="the step within a window")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes without those of a window, with the sizes of `like`."""
        assert self.x is not None
        have, like = axes(self.x), axes(self.like)
        need_axes(have, self.axes, ("axes",), self.x)
        for whose in (self.x, self.like):
            need_axes(axes(whose), self.over, ("over",), whose)
        if len(self.axes) != len(self.over):
            named = [counted(len(names), "name") for names in (self.axes, self.over)]
            raise AxisProblem(
                "wrong-number",
                f"'axes' has {named[0]}, and 'over' has {named[1]}",
                ("axes",),
                "name one axis of a window for each axis of the map",
            )
        if both := [axis for axis in self.axes if axis in self.over]:
            raise AxisProblem(
                "duplicate-axis",
                f"{both[0]!r} is an axis of the map, so it cannot be an axis of a window",
                ("axes", self.axes.index(both[0])),
                "name the axes that 'unfold' made",
            )
        for axis, count in self.slide(have).counts(like).items():
            if difference(have[axis], count) is not None:
                raise AxisProblem(
                    "size-conflict",
                    f"{str(self.x)!r} has {have[axis]} windows along {axis!r}, and a map like "
                    f"{str(self.like)!r} has {count}",
                    ("like",),
                    "use the stride, padding and dilation of the 'unfold', and name the value that "
                    "it read",
                )
            have = have.resized(axis, like[axis])
        return have.without(self.axes)

    def slide(self, have: Axes) -> Slide:
        """Return the windows, whose sizes are those of their axes in x."""
        kernel = tuple(have[axis] for axis in self.axes)
        return Slide(self.over, kernel, self.stride, self.padding, self.dilation)

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return what it says down and across."""
        return down_and_across(self, OF_WINDOWS[1:])

    def lower(self, emit: Emitter) -> Any:
        """Emit one call on [riding, window, places]."""
        from composer.kernels.windows import fold

        assert self.x is not None
        axes = emit.axes(self.x)
        riding = axes.without([*self.axes, *self.over]).names
        x = emit.arrange(emit.node(self.x), axes.names, (*riding, *self.axes, *self.over))
        size = sizes_of(emit, emit.node(self.like), emit.axes(self.like), self.over)
        node = emit.function(fold, x, size, *self.slide(axes).numbers())
        return emit.arrange(node, (*riding, *self.over), emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``fold kh, kw onto h, w``."""
        return f"fold {', '.join(self.axes)} onto {', '.join(self.over)}"

    def formula(self) -> str:
        """Return such as ``Σ x[h − kh, w − kw]``."""
        pairs = zip(self.over, self.axes, strict=False)
        return f"Σ x[{', '.join(f'{axis} − {inner}' for axis, inner in pairs)}]"

    def carries(self) -> tuple[Expr, ...]:
        """Return only x, because only the sizes of `like` are read."""
        return tuple(ref for path, ref in self.operands() if path != ("like",))
