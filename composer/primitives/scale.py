"""`scale`: multiplies a value by a number; all axes ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import NodeRef, Number
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive


class Scale(Primitive):
    """x times a constant, such as the 1/√d of dot-product attention."""

    example: ClassVar[str] = "out: {op: scale, by: c ** -0.5}"
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True
    computed: ClassVar[tuple[str, ...]] = ("by",)

    op: Literal["scale"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    by: Number = Field(description="the number, such as (c // heads) ** -0.5")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Write the product."""
        assert self.x is not None
        by = float(self.by.value) if self.by.is_constant else emit.number(self.by)
        return emit.method("mul", emit.node(self.x), by)

    def label(self) -> str:
        """Return such as ``× 0.125``."""
        return f"× {float(self.by.value):.4g}" if self.by.is_constant else f"× {self.by}"

    def formula(self) -> str:
        """Return such as ``0.125 x``."""
        if self.by.is_constant:
            return f"{float(self.by.value):.4g} x".replace("-", "−")
        return f"{self.by} x" if self.by.kind == "name" else f"({self.by}) x"
