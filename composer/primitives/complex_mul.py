"""`complex_mul`: the product of two values of complex numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr
from composer.language.fields import AxisName, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, misuse
from composer.primitives.broadcast import meet
from composer.primitives.frequencies import need_parts


class ComplexMul(Primitive):
    """The elementwise product of complex numbers, such as a spectrum and a filter of it.

    Their real and imaginary parts are along the axis `parts` of both; the other axes are matched by
    name, as in `mul`.
    """

    example: ClassVar[str] = """
        spectrum: {op: rfft, over: [h, w], parts: z}
        filter: {op: parameter, axes: {h: h, w: w // 2 + 1, z: 2}, init: {normal: 0.02}}
        filtered: {op: complex_mul, of: [spectrum, filter], parts: z}
        out: {op: irfft, over: [h, w], parts: z, size: w}
    """
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: Literal["complex_mul"]
    of: tuple[NodeRef, ...] = Field(min_length=1, description="the two values")
    parts: AxisName = Field(description="the axis of the real and the imaginary part")

    @model_validator(mode="after")
    def _of_two(self) -> ComplexMul:
        if len(self.of) != 2:
            raise misuse(
                f"complex_mul takes two values, not {len(self.of)}", "write one node for each pair"
            )
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of both, matched by name."""
        for ref in self.of:
            need_parts(axes(ref), self.parts, ref)
        return meet([(("of", i), ref) for i, ref in enumerate(self.of)], axes, order)

    def lower(self, emit: Emitter) -> Any:
        """Emit one call, with the parts last."""
        from composer.kernels.fourier import complex_mul

        own = emit.axes(emit.here)
        last = (*own.without((self.parts,)).names, self.parts)
        values = [emit.arrange(emit.node(ref), emit.axes(ref).names, last) for ref in self.of]
        return emit.arrange(emit.function(complex_mul, *values), last, own.names)

    def label(self) -> str:
        """Return ``complex product``."""
        return "complex product"

    def formula(self) -> str:
        """Return such as ``spectrum · filter``."""
        return " · ".join(map(str, self.of))
