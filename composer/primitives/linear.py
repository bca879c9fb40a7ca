"""`linear`: a fully connected layer along one axis; all others ride along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, Flag, NodeRef, Size
from composer.primitives.activations import Act, activate, applied
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, elements, flag, need_axes, whole
from composer.primitives.batch import folded, unfolded
from composer.primitives.channels import Out, need_free, need_groups, out_axes, product, spread
from composer.primitives.cost import Cost, of_layer
from composer.primitives.fully_connected import fully_connected
from composer.primitives.initialise import AS_TORCH, BiasInit, WeightInit, begun, need_bias
from composer.primitives.normalization import NO_NORM, NormField


class Linear(Primitive):
    """A fully connected layer `over` one axis, with an optional norm and activation after it."""

    example: ClassVar[str] = "out: {op: linear, over: c, out: c // 4, act: relu}"
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"
    anew: ClassVar[bool] = True

    op: Literal["linear"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisName = Field(description="the axis it mixes")
    out: Out = Field(
        default=None,
        description="the new size of the axis (the same by default), or the axes that replace it",
    )
    groups: Size = Field(
        default=constant(1), description="parts of the axis that are not mixed with each other"
    )
    bias: Flag | None = Field(default=None, description="true by default, unless a norm follows")
    init: WeightInit = AS_TORCH
    bias_init: BiasInit = None
    norm: NormField = Field(default=NO_NORM, description="after the layer")
    act: Act = Field(default=constant("none"), description="the activation, after the norm")

    @model_validator(mode="after")
    def _has_what_begins(self) -> Linear:
        need_bias(self.bias_init, self.bias, self.norm.fn)
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with `over` resized or replaced."""
        assert self.x is not None
        need_axes(axes(self.x), (self.over,), ("over",), self.x)
        size = axes(self.x)[self.over]
        new = out_axes(self.out, self.over, size)
        rest = axes(self.x).without([self.over])
        need_free(rest, new, self.x)
        need_groups(self.groups, size, product(new))
        self.norm.need(product(new), rest, order)
        return rest.extended(new, order)

    def lower(self, emit: Emitter) -> Any:
        """Emit the layer on the last axis, which needs no copy for a pooled value."""
        assert self.x is not None
        axes = emit.axes(self.x)
        new = out_axes(self.out, self.over, axes[self.over])
        rest = axes.without([self.over]).names
        width = whole(product(new))
        if self._is_affine(whole(axes[self.over]), width):
            return self._lower_affine(emit, axes, new)
        node = emit.arrange(emit.node(self.x), axes.names, (*rest, self.over))
        node = self._layer(emit, node, whole(axes[self.over]), width, len(rest))
        node = self.norm.write(emit, node, len(rest), width)
        node = activate(emit, str(self.act.value), node, own=True)
        node = spread(emit, node, new, len(rest), self.over)
        return emit.arrange(node, (*rest, *new), emit.axes(emit.here).names)

    @property
    def has_bias(self) -> bool:
        """Whether it adds a bias: by default, unless a norm follows."""
        return not self.norm.is_on if self.bias is None else flag(self.bias)

    def _is_affine(self, width: int, out: int) -> bool:
        """Return whether it mixes nothing, with one weight and bias per channel."""
        return 1 < width == out == whole(self.groups) and not self.norm.is_on

    def _lower_affine(self, emit: Emitter, axes: Axes, new: Mapping[str, Expr]) -> Any:
        """Emit it on the channels in place."""
        from composer.kernels.affine import Affine

        assert self.x is not None
        where = axes.index(self.over)
        before, behind = axes.names[:where], axes.names[where + 1 :]
        layer = Affine(whole(axes[self.over]), self.has_bias, len(behind))
        layer = begun(layer, self.init, self.bias_init)
        node = emit.module("linear", layer, emit.node(self.x))
        node = activate(emit, str(self.act.value), node, own=True)
        node = spread(emit, node, new, where, self.over)
        return emit.arrange(node, (*before, *new, *behind), emit.axes(emit.here).names)

    def _layer(self, emit: Emitter, x: Any, width: int, out: int, rest: int) -> Any:
        """Emit the layer for a value whose last axis it mixes; groups use a 1×1 convolution."""
        from torch import nn

        groups, bias = whole(self.groups), self.has_bias
        if groups == 1:
            plain = begun(fully_connected(rest)(width, out, bias=bias), self.init, self.bias_init)
            return emit.module("linear", plain, x)
        layer = nn.Conv1d(width, out, 1, groups=groups, bias=bias)
        layer = begun(layer, self.init, self.bias_init)
        node = emit.module("linear", layer, emit.method("unsqueeze", folded(emit, x, rest), 2))
        return unfolded(emit, emit.method("squeeze", node, 2), x, rest)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of the matrix, or of each group's, with its bias, and of the norm."""
        assert self.x is not None
        size = axes(self.x)[self.over]
        inputs = whole(size) // whole(self.groups)
        width, made = whole(product(out_axes(self.out, self.over, size))), elements(own)
        if self._is_affine(whole(size), width):
            return Cost(width * (1 + self.has_bias))
        return of_layer(inputs, width, made, self.has_bias) + self.norm.cost(width, made)

    def label(self) -> str:
        """Return such as ``linear over c``."""
        return f"linear over {self.over}"

    def formula(self) -> str:
        """Return such as ``relu(BN(W x))``."""
        return applied(self.act, self.norm.formula("W x + b" if self.has_bias else "W x"))
