"""`schedule`: a number that changes step by step during training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import Number, Size
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, whole


class Schedule(Primitive):
    """A number that moves linearly from `begin` to `end`, then stays.

    ``composer.advance`` moves every schedule of a model by one step: the temperature of dynamic
    convolution (arXiv:1912.03458) goes from 30 to 1 in ten epochs.
    """

    example: ClassVar[str] = """
        warm: {op: schedule, begin: 30, end: 1, steps: 1000}
        out: {op: div, of: [input, warm]}
    """
    draws_weights: ClassVar[bool] = True  # each has its own step count
    colour: ClassVar[str] = "plain"

    op: Literal["schedule"]
    begin: Number = Field(description="the first value")
    end: Number = Field(description="the last value, which it keeps")
    steps: Size = Field(description="the number of steps between them")

    @property
    def meets_zero(self) -> bool:
        """Whether it may be zero at some step, once bound."""
        known = self.begin.is_constant and self.end.is_constant
        return known and float(self.begin.value) * float(self.end.value) <= 0

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return no axes: it is a single number."""
        return Axes(())

    def lower(self, emit: Emitter) -> Any:
        """Emit a read of the number."""
        return emit.schedule(float(self.begin.value), float(self.end.value), whole(self.steps))

    def label(self) -> str:
        """Return such as ``30 to 1 in 10 steps``."""
        return f"{self.begin} to {self.end} in {self.steps} steps"

    def formula(self) -> str:
        """Return such as ``30 + (1 − 30) t / 10``, where t counts the steps."""
        return f"{self.begin} + ({self.end} − {self.begin}) t / {self.steps}"
