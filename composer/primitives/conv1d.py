"""`conv1d`: one small filter that slides along one axis; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, Flag, NodeRef, Size
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import (
    Emitter,
    Primitive,
    elements,
    flag,
    need_axes,
    need_odd,
    whole,
)
from composer.primitives.batch import folded, unfolded
from composer.primitives.cost import Cost, of_layer
from composer.primitives.initialise import AS_TORCH, BiasInit, WeightInit, begun, need_bias


class Conv1d(Primitive):
    """One filter of `kernel` weights `along` an axis, padded to keep the size.

    In ECA (arXiv:1910.03151) it slides along the channels.
    """

    example: ClassVar[str] = """
        squeeze: {op: pool, over: [h, w]}
        out: {op: conv1d, along: c, kernel: 3}
    """
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"
    anew: ClassVar[bool] = True

    op: Literal["conv1d"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    along: AxisName = Field(description="the axis it slides along")
    kernel: Size = Field(description="the size of the filter; odd")
    bias: Flag = Field(default=constant(True), description="whether a bias is added")
    init: WeightInit = AS_TORCH
    bias_init: BiasInit = None

    @model_validator(mode="after")
    def _has_what_begins(self) -> Conv1d:
        need_bias(self.bias_init, self.bias)
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        need_axes(axes(self.x), (self.along,), ("along",), self.x)
        need_odd(self.kernel)
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Emit the convolution with all other axes as the batch."""
        from composer.kernels.row_conv1d import RowConv1d

        assert self.x is not None
        axes = emit.axes(self.x)
        rest = axes.without([self.along]).names
        layer = RowConv1d(whole(self.kernel), bias=flag(self.bias))
        layer = begun(layer, self.init, self.bias_init)
        x = emit.arrange(emit.node(self.x), axes.names, (*rest, self.along))
        node = emit.module("conv", layer, folded(emit, x, len(rest)))
        node = unfolded(emit, node, x, len(rest))
        return emit.arrange(node, (*rest, self.along), axes.names)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of the filter and its bias."""
        return of_layer(whole(self.kernel), 1, elements(own), flag(self.bias))

    def label(self) -> str:
        """Return such as ``conv1d along c, kernel 5``."""
        return f"conv1d along {self.along}, kernel {self.kernel}"

    def formula(self) -> str:
        """Return such as ``w * x``."""
        return "w * x + b" if flag(self.bias) else "w * x"
