"""`parameter`: a learned value of its own, the same for every sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, whole
from composer.spec.expressions import Expr
from composer.spec.fields import AxisName, Number, Size


class Parameter(Primitive):
    """A learned tensor with the given axes, each element of which begins at `init`."""

    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["parameter"]
    axes: dict[AxisName, Size] = Field(description="its axes with their sizes; {} is one number")
    init: Number = Field(description="what every element begins at")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes as told."""
        return Axes(()).extended(self.axes, order)

    def lower(self, emit: Emitter) -> Any:
        """Write a read of the parameter."""
        import torch

        shape = [whole(size) for _, size in emit.axes(emit.here).sizes]
        return emit.parameter(torch.full(shape, float(self.init.value)))

    def label(self) -> str:
        """Return such as ``parameter [c]``."""
        return f"parameter [{', '.join(self.axes)}]"
