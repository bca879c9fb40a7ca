"""`irfft`: the inverse Fourier transform, which gives real values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, difference
from composer.language.fields import AxisName, AxisNames, NodeRef, Size
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.frequencies import frequencies, need_parts


class Irfft(Primitive):
    """The inverse of `rfft` over the axes `over`, which has the real values again.

    The last axis of `over` has the frequencies of `size` values, n // 2 + 1 of them; all the others
    are the conjugates of these. Of zero and of the highest the imaginary part is not read.
    """

    example: ClassVar[str] = """
        spectrum: {op: rfft, over: w, parts: z}
        phase: {op: norm, fn: rms, over: z}
        out: {op: irfft, over: w, parts: z, size: w}
    """
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True
    computed: ClassVar[tuple[str, ...]] = ("size",)

    op: Literal["irfft"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, description="the axes; the last has half the frequencies")
    parts: AxisName = Field(description="the axis of the real and the imaginary part, which goes")
    size: Size = Field(
        description="the size of the last axis before `rfft`, since w = 6 and w = 7 have as many "
        "frequencies"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with the number of values, without the parts."""
        assert self.x is not None
        have, last = axes(self.x), self.over[-1]
        need_axes(have, self.over, ("over",), self.x)
        need_parts(have, self.parts, self.x)
        if self.parts in self.over:
            raise AxisProblem(
                "duplicate-axis",
                f"the axis {self.parts!r} of the parts can't be transformed",
                ("over", self.over.index(self.parts)),
                "name the axes of the frequencies",
            )
        if difference(have[last], frequencies(self.size)) is not None:
            raise AxisProblem(
                "size-conflict",
                f"{self.size} values have {frequencies(self.size)} frequencies, and axis {last!r} "
                f"of {str(self.x)!r} has {have[last]}",
                ("size",),
                "give the size that the axis had before rfft",
            )
        return have.resized(last, self.size).without((self.parts,))

    def lower(self, emit: Emitter) -> Any:
        """Emit one call, on a value with the parts last."""
        from composer.kernels.fourier import irfft

        assert self.x is not None
        have, own = emit.axes(self.x).names, emit.axes(emit.here).names
        where = tuple(own.index(axis) for axis in self.over)
        x = emit.arrange(emit.node(self.x), have, (*own, self.parts))
        return emit.function(irfft, x, where, emit.size(self.size))

    def label(self) -> str:
        """Return such as ``inverse Fourier transform over h, w``."""
        return f"inverse Fourier transform over {', '.join(self.over)}"
