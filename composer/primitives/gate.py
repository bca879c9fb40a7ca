"""`gate`: squash logits into attention values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant, name
from composer.language.fields import AxisName, NodeRef, word
from composer.primitives.activations import FUNCTIONS, activate, applied
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes


class Gate(Primitive):
    """A function of each element, or a softmax `over` one axis."""

    colour: ClassVar[str] = "gate"
    anew: ClassVar[bool] = True

    op: Literal["gate"]
    x: NodeRef | None = Field(default=None, description="the node above unless told")
    fn: Annotated[Expr, word("softmax", *FUNCTIONS)] = Field(
        default=constant("sigmoid"), description="sigmoid unless told"
    )
    over: AxisName | None = Field(default=None, description="the axis of a softmax")

    @model_validator(mode="after")
    def _softmax_says_where(self) -> Gate:
        if self.fn == name("softmax") and self.over is None:
            raise ValueError("a softmax needs 'over', the axis along which it sums to one")
        if self.over is not None and self.fn in map(name, FUNCTIONS):
            raise ValueError(f"{self.fn} works on each element; 'over' belongs to a softmax")
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        if self.fn.value == "softmax":
            if self.over is None:
                raise AxisProblem("missing-field", "a softmax needs 'over'", ("fn",))
            need_axes(axes(self.x), (self.over,), ("over",), self.x)
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Write the function."""
        assert self.x is not None
        if self.fn.value != "softmax":
            return activate(emit, str(self.fn.value), emit.node(self.x))
        assert self.over is not None
        return emit.method("softmax", emit.node(self.x), emit.axes(self.x).index(self.over))

    def label(self) -> str:
        """Return such as ``sigmoid``."""
        return f"{self.fn} over {self.over}" if self.fn.value == "softmax" else str(self.fn)

    def formula(self) -> str:
        """Return such as ``σ(x)`` or ``softmax(x)``."""
        return applied(self.fn, "x")
