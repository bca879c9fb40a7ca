"""`parameter`: a learned value of its own, the same for every sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, Value, constant
from composer.language.fields import AxisName, Kind, Size
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, whole
from composer.primitives.cost import Cost

CONV = "conv"
#: The axes of what torch brings into a memory format with the channels last.
_OF_AN_IMAGE, _OF_A_VIDEO = 4, 5


@dataclass(frozen=True)
class _Init(Kind):
    """A number, or the word that stands for the way torch draws a convolution's weight."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        number: dict[str, Any] = super().__get_pydantic_json_schema__(schema, handler)
        return {"anyOf": [{"const": CONV}, *number["anyOf"]]}

    def read(self, value: Any) -> Expr:
        """Return the expression that a YAML value is."""
        return constant(CONV) if value == CONV else super().read(value)

    def refusal(self, value: Value) -> tuple[str, str | None] | None:
        """Return (message, help) where `value` is neither, else None."""
        return None if value == CONV else super().refusal(value)


class Parameter(Primitive):
    """A learned tensor with the given axes, which begins at `init`.

    ``conv`` draws it as torch draws a convolution's weight: evenly between ±1/√n, where n is
    the product of the sizes written behind the axis ``o``, or behind the first one.

    One of five axes or more is kept as [first, all others]: torch takes one of five for a video,
    and refuses to bring it into the memory format of images. Among volumes that is so of four axes.
    """

    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["parameter"]
    axes: dict[AxisName, Size] = Field(description="its axes with their sizes; {} is one number")
    init: Annotated[Expr, _Init("number")] = Field(
        description="what every element begins at, or 'conv': drawn as a convolution's weight"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes as told."""
        return Axes(()).extended(self.axes, order)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes as written, once bound."""
        return tuple(map(self._size, self.axes))

    def lower(self, emit: Emitter) -> Any:
        """Write a read of the parameter, which is kept as written, whatever the layout."""
        import torch

        tensor = torch.empty(self.shape)
        if self.init.value == CONV:
            bound = math.prod(map(self._size, self._inputs())) ** -0.5
            tensor.uniform_(-bound, bound)
        else:
            tensor.fill_(float(self.init.value))
        volumes = len(emit.axes(constant("input"))) == _OF_A_VIDEO
        if tensor.dim() < (_OF_AN_IMAGE if volumes else _OF_A_VIDEO):
            node = emit.parameter(tensor)
        else:
            node = emit.method("unflatten", emit.parameter(tensor.flatten(1)), 1, self.shape[1:])
        return emit.arrange(node, tuple(self.axes), emit.axes(emit.here).names)

    def _inputs(self) -> list[str]:
        """Return the axes that an output is summed over, as written."""
        written = list(self.axes)
        return written[written.index("o") + 1 if "o" in written else 1 :]

    def _size(self, axis: str) -> int:
        return whole(self.axes[axis], ("axes", axis))

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return its elements, one where it has no axes."""
        return Cost(parameters=math.prod(self.shape))

    def label(self) -> str:
        """Return such as ``parameter [c]``."""
        return f"parameter [{', '.join(self.axes)}]"
