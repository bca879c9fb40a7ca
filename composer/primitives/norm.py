"""`norm`: a norm over one axis, on its own; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant, name
from composer.language.fields import AxisName, Epsilon, NodeRef, Number, Share, word
from composer.primitives.activations import Act, activate, applied
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, elements, need_axes, whole
from composer.primitives.batch import folded, unfolded
from composer.primitives.cost import Cost, of_norm
from composer.primitives.normalization import Norm

BEHIND = 3  # torch has batch norms for up to three axes behind the channels


class Normalize(Primitive):
    """A batch norm of the channels `over`, or a layer norm over that axis."""

    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["norm"]
    x: NodeRef | None = Field(default=None, description="the node above unless told")
    over: AxisName = Field(description="the axis of its weights")
    fn: Annotated[Expr, word("batch", "layer")] = Field(
        default=constant("batch"), description="batch unless told"
    )
    eps: Epsilon = Field(default=constant(1e-5), description="added to the variance")
    momentum: Share = Field(
        default=constant(0.1), description="weight of the newest batch's statistics"
    )
    scale: Number = Field(default=constant(1), description="what its weight begins at")
    act: Act = Field(default=constant("none"), description="last of all; none unless told")

    @model_validator(mode="after")
    def _momentum_is_of_a_batch(self) -> Normalize:
        if self.fn == name("layer") and "momentum" in self.model_fields_set:
            raise ValueError("a layer norm keeps no statistics; 'momentum' belongs to a batch norm")
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        need_axes(axes(self.x), (self.over,), ("over",), self.x)
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Write the norm and the activation."""
        assert self.x is not None
        node = self._layer(emit) if self.fn.value == "layer" else self._batch(emit)
        return activate(emit, str(self.act.value), node, own=True)

    def _layer(self, emit: Emitter) -> Any:
        from torch import nn

        assert self.x is not None
        axes = emit.axes(self.x)
        order = (*axes.without([self.over]), self.over)
        module = nn.LayerNorm(whole(axes[self.over]), eps=float(self.eps.value))
        nn.init.constant_(module.weight, float(self.scale.value))
        x = emit.arrange(emit.node(self.x), axes.names, order)
        return emit.arrange(emit.module("norm", module, x), order, axes.names)

    def _batch(self, emit: Emitter) -> Any:
        assert self.x is not None
        axes = emit.axes(self.x)
        rest, where = axes.without([self.over]).names, axes.index(self.over)
        first = max(where, len(rest) - BEHIND)
        order = (*rest[:first], self.over, *rest[first:])
        norm = Norm(momentum=self.momentum, eps=self.eps, scale=self.scale)
        module = norm.build(whole(axes[self.over]), len(rest) - first)
        x = emit.arrange(emit.node(self.x), axes.names, order)
        node = emit.module("norm", module, folded(emit, x, first))
        return emit.arrange(unfolded(emit, node, x, first), order, axes.names)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the norm."""
        return of_norm(whole(own[self.over]), elements(own))

    def label(self) -> str:
        """Return such as ``batch norm over c``."""
        return f"{self.fn} norm over {self.over}"

    def formula(self) -> str:
        """Return such as ``BN(x)`` or ``relu(LN(x))``."""
        return applied(self.act, "LN(x)" if self.fn.value == "layer" else "BN(x)")
