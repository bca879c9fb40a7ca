"""`rfft`: the Fourier transform of real values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, AxisNames, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.frequencies import frequencies


class Rfft(Primitive):
    """The Fourier transform over the axes `over`; `irfft` is its inverse.

    A frequency is a complex number, whose real and imaginary part are along the new axis `parts`.
    Along the last axis of `over` only the n // 2 + 1 frequencies from zero on are kept, since those
    of real values come in conjugate pairs. Each direction divides by √n (``norm="ortho"``).
    """

    example: ClassVar[str] = """
        spectrum: {op: rfft, over: [h, w], parts: z}
        damp: {op: constant, axes: {h: h, w: w // 2 + 1}, value: exp(-h - w)}
        low: {op: mul, of: [spectrum, damp]}
        out: {op: irfft, over: [h, w], parts: z, size: w}
    """
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: Literal["rfft"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(min_length=1, description="the axes; the last has half the frequencies")
    parts: AxisName = Field(description="the new axis of the real and the imaginary part")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with the number of frequencies, and the new one."""
        assert self.x is not None
        have, last = axes(self.x), self.over[-1]
        need_axes(have, self.over, ("over",), self.x)
        if self.parts in have:
            raise AxisProblem(
                "axis-exists",
                f"{str(self.x)!r} already has an axis {self.parts!r}",
                ("parts",),
                "give the new axis another name",
            )
        found = have.resized(last, frequencies(have[last]))
        return found.extended({self.parts: constant(2)}, order)

    def lower(self, emit: Emitter) -> Any:
        """Emit one call, which has the parts last."""
        from composer.kernels.fourier import rfft

        assert self.x is not None
        have = emit.axes(self.x).names
        where = tuple(have.index(axis) for axis in self.over)
        node = emit.function(rfft, emit.node(self.x), where)
        return emit.arrange(node, (*have, self.parts), emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``Fourier transform over h, w``."""
        return f"Fourier transform over {', '.join(self.over)}"
