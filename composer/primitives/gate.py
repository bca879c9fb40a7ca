"""`gate`: turns logits into attention values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant, name
from composer.language.fields import AxisNames, NodeRef, word
from composer.primitives.activations import FUNCTIONS, activate, applied
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, misuse, need_axes


class Gate(Primitive):
    """A function of each element, or a softmax `over` one axis or several at once."""

    example: ClassVar[str] = """
        squeeze: {op: pool, over: [h, w]}
        out: {op: gate, fn: softmax, over: c}
    """
    colour: ClassVar[str] = "gate"
    anew: ClassVar[bool] = True

    op: Literal["gate"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    fn: Annotated[Expr, word("softmax", *FUNCTIONS)] = Field(
        default=constant("sigmoid"), description="the function"
    )
    over: AxisNames | None = Field(
        default=None, description="the axes over which a softmax sums to one, such as [h, w]"
    )

    @model_validator(mode="after")
    def _softmax_says_where(self) -> Gate:
        if self.fn == name("softmax") and self.over is None:
            raise ValueError("a softmax needs 'over', the axis along which it sums to one")
        if self.over == ():
            raise misuse(
                "a softmax over no axis is always 1", "name an axis, such as 'over: [h, w]'"
            )
        if self.over is not None and self.fn in map(name, FUNCTIONS):
            raise ValueError(f"{self.fn} is elementwise; 'over' is only for a softmax")
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        if self.fn.value == "softmax":
            if self.over is None:
                raise AxisProblem("missing-field", "a softmax needs 'over'", ("fn",))
            need_axes(axes(self.x), self.over, ("over",), self.x)
        return axes(self.x)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it is a softmax over only some of the spatial axes."""
        return partly(self.over, places)

    def lower(self, emit: Emitter) -> Any:
        """Write the function."""
        assert self.x is not None
        if self.fn.value != "softmax":
            return activate(emit, str(self.fn.value), emit.node(self.x))
        assert self.over is not None
        node, axes = emit.node(self.x), emit.axes(self.x)
        if len(self.over) == 1:
            return emit.method("softmax", node, axes.index(self.over[0]))
        return self._of_several(emit, node, axes, self.over)

    def _of_several(self, emit: Emitter, x: Any, axes: Axes, over: tuple[str, ...]) -> Any:
        """Emit the softmax over the merged axes, placed at the first of them in memory."""
        together = tuple(axis for axis in axes if axis in over)
        first = axes.index(together[0])
        rest = axes.without(together).names
        order = (*rest[:first], *together, *rest[first:])
        x = emit.arrange(x, axes.names, order)
        flat = emit.method("flatten", x, first, first + len(over) - 1)
        node = emit.method("softmax", flat, first)
        sizes = tuple(emit.method("size", x, first + i) for i in range(len(over)))
        return emit.arrange(emit.method("unflatten", node, first, sizes), order, axes.names)

    def label(self) -> str:
        """Return such as ``sigmoid``."""
        over = "" if self.over is None else f" over {', '.join(self.over)}"
        return f"{self.fn}{over if self.fn.value == 'softmax' else ''}"

    def formula(self) -> str:
        """Return such as ``σ(x)`` or ``softmax(x)``."""
        return applied(self.fn, "x")
