"""`mlp`: two fully connected layers along one axis with an activation between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, Flag, NodeRef, Size
from composer.primitives.activations import Act, activate, applied
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, elements, flag, need_axes, whole
from composer.primitives.channels import Out, need_free, out_axes, product, spread
from composer.primitives.cost import Cost, of_layer
from composer.primitives.fully_connected import fully_connected
from composer.primitives.initialise import AS_TORCH, BiasInit, InitField, begun, need_bias
from composer.primitives.normalization import NO_NORM, NormField


class Mlp(Primitive):
    """A bottleneck `over` one axis: to `hidden`, an optional norm, an activation, and back."""

    example: ClassVar[str] = """
        squeeze: {op: pool, over: [h, w]}
        out: {op: mlp, over: c, hidden: c // 16}
    """
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"
    anew: ClassVar[bool] = True

    op: Literal["mlp"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisName = Field(description="the axis it mixes")
    hidden: Size = Field(description="the width between the two layers: c // reduction")
    out: Out = Field(
        default=None,
        description="the new size of the axis (the same by default), or the axes that replace it",
    )
    bias: Flag = Field(default=constant(True), description="of both layers")
    init: InitField = Field(
        default=AS_TORCH,
        description="initial weights of both layers: a number, kaiming, xavier, or "
        "{normal: 0.02}; torch's default otherwise",
    )
    bias_init: BiasInit = Field(
        default=None, description="the initial value of both biases; torch's default otherwise"
    )
    norm: NormField = Field(default=NO_NORM, description="after the first layer")
    act: Act = Field(default=constant("relu"), description="between the layers")

    @model_validator(mode="after")
    def _has_what_begins(self) -> Mlp:
        need_bias(self.bias_init, self.bias)
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with `over` resized or replaced."""
        assert self.x is not None
        need_axes(axes(self.x), (self.over,), ("over",), self.x)
        new = out_axes(self.out, self.over, axes(self.x)[self.over])
        rest = axes(self.x).without([self.over])
        need_free(rest, new, self.x)
        self.norm.need(self.hidden, rest, order, layer="mlp")
        return rest.extended(new, order)

    def lower(self, emit: Emitter) -> Any:
        """Emit both layers on the last axis."""
        assert self.x is not None
        axes = emit.axes(self.x)
        rest = axes.without([self.over]).names
        new = out_axes(self.out, self.over, axes[self.over])
        width, hidden, out = whole(axes[self.over]), whole(self.hidden), whole(product(new))
        node = emit.arrange(emit.node(self.x), axes.names, (*rest, self.over))
        layer = fully_connected(len(rest))
        first, second = (
            begun(layer(*sizes, bias=flag(self.bias)), self.init, self.bias_init)
            for sizes in ((width, hidden), (hidden, out))
        )
        node = emit.module("fc1", first, node)
        node = self.norm.write(emit, node, len(rest), hidden)
        node = activate(emit, str(self.act.value), node, own=True)
        node = emit.module("fc2", second, node)
        node = spread(emit, node, new, len(rest), self.over)
        return emit.arrange(node, (*rest, *new), emit.axes(emit.here).names)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of both matrices with their biases, and of the norm."""
        assert self.x is not None
        size, bias = axes(self.x)[self.over], flag(self.bias)
        width, hidden = whole(size), whole(self.hidden)
        out = whole(product(out_axes(self.out, self.over, size)))
        between = elements(axes(self.x).without([self.over])) * hidden
        first = of_layer(width, hidden, between, bias) + self.norm.cost(hidden, between)
        return first + of_layer(hidden, out, elements(own), bias)

    def label(self) -> str:
        """Return such as ``mlp over c, hidden c // 16``."""
        return f"mlp over {self.over}, hidden {self.hidden}"

    def formula(self) -> str:
        """Return such as ``W2 relu(W1 x + b1) + b2``."""
        first, behind = ("W1 x + b1", " + b2") if flag(self.bias) else ("W1 x", "")
        hidden = applied(self.act, self.norm.formula(first))
        return f"W2 {f'({first})' if hidden == first and behind else hidden}{behind}"
