"""`parameter`: a learned value of its own, the same for every sample."""

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

#: The axes of what torch brings into a memory format with the channels last.
_OF_AN_IMAGE, _OF_A_VIDEO = 4, 5


class Parameter(Primitive):
    """A learned tensor with the given axes, which begins at `init`.

    ``conv`` draws it as torch draws a convolution's weight: evenly between ±1/√n, where n is
    the product of the sizes written after the axis ``o``, or after the first one. So is n counted
    for ``kaiming`` and ``xavier``.
    """

    example: ClassVar[str] = """
        weight: {op: parameter, axes: {c: c}, init: 1}
        out: {op: mul, of: [input, weight]}
    """
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["parameter"]
    axes: dict[AxisName, Size] = Field(description="its axes with their sizes; {} is one number")
    init: InitField = Field(
        description="what every element begins at, or 'conv': drawn as a convolution's weight; or "
        "kaiming, xavier, {normal: 0.02}, {trunc_normal: 0.02}, {uniform: 0.1}"
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
        self.init.draw(tensor, [self._size(axis) for axis in self._from_outputs()])
        node = learned(emit, tensor)
        return emit.arrange(node, tuple(self.axes), emit.axes(emit.here).names)

    def _from_outputs(self) -> list[str]:
        """Return the axis of the outputs and those that each is summed over, as written."""
        written = list(self.axes)
        return written[written.index("o") if "o" in written else 0 :]

    def _size(self, axis: str) -> int:
        return whole(self.axes[axis], ("axes", axis))

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return its elements, one where it has no axes."""
        return Cost(parameters=math.prod(self.shape))

    def label(self) -> str:
        """Return such as ``parameter [c]``."""
        return f"parameter [{', '.join(self.axes)}]"


def learned(emit: Emitter, tensor: Tensor, local: str | None = None) -> Any:
    """Write a read of a parameter in its own shape, however many axes that has.

    One of five axes or more is kept as [first, all others]: torch takes one of five for a video,
    and refuses to bring it into the memory format of images. Among volumes that is so of four axes.
    """
    volumes = len(emit.axes(constant("input"))) == _OF_A_VIDEO
    if tensor.dim() < (_OF_AN_IMAGE if volumes else _OF_A_VIDEO):
        return emit.parameter(tensor, local)
    flat = emit.parameter(tensor.flatten(1), local)
    return emit.method("unflatten", flat, 1, (-1, *tensor.shape[2:]))
