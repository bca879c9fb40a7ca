"""`parameter`: a learned tensor, the same for every sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, Size
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, whole
from composer.primitives.cost import Cost
from composer.primitives.initialise import InitField

if TYPE_CHECKING:
    from torch import Tensor

#: The number of axes of tensors that torch can convert to channels-last memory format.
_OF_AN_IMAGE, _OF_A_VIDEO = 4, 5


class Parameter(Primitive):
    """A learned tensor with the given axes, initialised by `init`.

    ``conv`` initialises it as torch does a convolution's weight: uniform in ±1/√n, where n is
    the product of the sizes written after the axis ``o``, or after the first one. ``kaiming`` and
    ``xavier`` use the same n.
    """

    example: ClassVar[str] = """
        weight: {op: parameter, axes: {c: c}, init: 1}
        out: {op: mul, of: [input, weight]}
    """
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["parameter"]
    axes: dict[AxisName, Size] = Field(
        description="its axes with their sizes; {} is a single number"
    )
    init: InitField = Field(
        description="the initial value of every element, or 'conv' for that of a convolution; or "
        "kaiming, xavier, {normal: 0.02}, {trunc_normal: 0.02}, {uniform: 0.1}"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes as given."""
        return Axes(()).extended(self.axes, order)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes as written, once bound."""
        return tuple(map(self._size, self.axes))

    def lower(self, emit: Emitter) -> Any:
        """Emit a read of the parameter, which is stored as written, in any layout."""
        import torch

        tensor = torch.empty(self.shape)
        self.init.draw(tensor, [self._size(axis) for axis in self._from_outputs()])
        node = learned(emit, tensor)
        return emit.arrange(node, tuple(self.axes), emit.axes(emit.here).names)

    def _from_outputs(self) -> list[str]:
        """Return the output axis, and the input axes that it sums over, as written."""
        written = list(self.axes)
        return written[written.index("o") if "o" in written else 0 :]

    def _size(self, axis: str) -> int:
        return whole(self.axes[axis], ("axes", axis))

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the number of its elements, one without axes."""
        return Cost(parameters=math.prod(self.shape))

    def label(self) -> str:
        """Return such as ``parameter [c]``."""
        return f"parameter [{', '.join(self.axes)}]"


def learned(emit: Emitter, tensor: Tensor, local: str | None = None) -> Any:
    """Emit a read of a parameter in its own shape, with any number of axes.

    One with five axes or more is stored as [first, all others]: torch takes five axes for a video,
    and refuses to convert it to the memory format of images. For volumes the same holds for four.
    """
    volumes = len(emit.axes(constant("input"))) == _OF_A_VIDEO
    if tensor.dim() < (_OF_AN_IMAGE if volumes else _OF_A_VIDEO):
        return emit.parameter(tensor, local)
    flat = emit.parameter(tensor.flatten(1), local)
    return emit.method("unflatten", flat, 1, (-1, *tensor.shape[2:]))
