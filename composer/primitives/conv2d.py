"""`conv2d`: a convolution over two axes that mixes a third; all others ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.primitives.activations import Act, activate
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import (
    AxisProblem,
    Emitter,
    Primitive,
    flag,
    need_axes,
    need_odd,
    whole,
)
from composer.primitives.batch import folded, unfolded
from composer.primitives.channels import Out, need_free, out_axes, product, spread
from composer.primitives.normalization import NO_NORM, NormField
from composer.spec.expressions import Expr, bind, constant
from composer.spec.fields import AxisName, AxisNames, Flag, NodeRef, Size


class Conv2d(Primitive):
    """A convolution `over` two axes, padded so that stride 1 keeps their sizes.

    It mixes the axis `channels`; a value without that axis counts as one channel.
    """

    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"

    op: Literal["conv2d"]
    x: NodeRef | None = Field(default=None, description="the node above unless told")
    over: AxisNames = Field(
        default=("h", "w"), min_length=2, max_length=2, description="the two axes it slides over"
    )
    channels: AxisName = Field(default="c", description="the axis it mixes")
    kernel: Size = Field(description="its height and width; odd")
    out: Out = Field(
        default=None,
        description="the new number of channels (the same unless told), or the axes that replace "
        "them; {} for one map without a channel axis",
    )
    stride: Size = Field(default=constant(1), description="1 unless told")
    dilation: Size = Field(default=constant(1), description="1 unless told")
    groups: Size = Field(default=constant(1), description="1 unless told; c makes it depthwise")
    bias: Flag | None = Field(default=None, description="true unless a norm follows")
    norm: NormField = Field(default=NO_NORM, description="after the layer; none unless told")
    act: Act = Field(default=constant("none"), description="last of all; none unless told")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with the channels replaced and, under a stride, smaller maps."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.over, ("over",), self.x)
        need_odd(self.kernel)
        if self.channels in self.over:
            raise AxisProblem(
                "duplicate-axis",
                f"the axis {self.channels!r} is slid over, so it cannot be the one mixed",
                ("channels",),
                "name the axis of the channels",
            )
        channels = have[self.channels] if self.channels in have else constant(1)
        new = out_axes(self.out, self.channels, channels)
        rest = have.without([self.channels])
        need_free(rest, new, self.x)
        self._check_groups(channels, product(new))
        for axis in self.over:
            rest = rest.resized(axis, _strided(have[axis], self.stride))
        return rest.extended(new, order)

    def _check_groups(self, channels: Expr, out: Expr) -> None:
        for what, size in (("in", channels), ("out", out)):
            if not (size.is_constant and self.groups.is_constant):
                continue
            if whole(size) % whole(self.groups):
                raise AxisProblem(
                    "groups-do-not-divide",
                    f"{self.groups} groups do not divide {size} channels {what}",
                    ("groups",),
                    "choose groups that divide both",
                )

    def lower(self, emit: Emitter) -> Any:
        """Write convolution, norm and activation on [batch, channels, height, width]."""
        from torch import nn

        assert self.x is not None
        axes = emit.axes(self.x)
        channels = whole(axes[self.channels]) if self.channels in axes else 1
        new = out_axes(self.out, self.channels, constant(channels))
        riding = axes.without([self.channels, *self.over]).names
        kernel, dilation, width = whole(self.kernel), whole(self.dilation), whole(product(new))
        layer = nn.Conv2d(
            channels,
            width,
            kernel,
            stride=whole(self.stride),
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=whole(self.groups),
            bias=not self.norm.is_on if self.bias is None else flag(self.bias),
        )
        x = emit.arrange(emit.node(self.x), axes.names, (*riding, self.channels, *self.over))
        node = emit.module("conv", layer, folded(emit, x, len(riding)))
        if self.norm.is_on:
            node = emit.module("norm", self.norm.build(width, 2), node)
        node = activate(emit, str(self.act.value), node)
        node = unfolded(emit, spread(emit, node, new, 1), x, len(riding))
        return emit.arrange(node, (*riding, *new, *self.over), emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``conv2d 7×7``."""
        dilated = "" if self.dilation == constant(1) else f", dilation {self.dilation}"
        return f"conv2d {self.kernel}×{self.kernel}{dilated}"


def _strided(size: Expr, stride: Expr) -> Expr:
    """Return the size after a stride, under the padding that keeps it at stride 1."""
    if stride == constant(1):
        return size
    steps = Expr("//", 0, (Expr("-", 0, (size, constant(1))), stride))
    return bind(Expr("+", 0, (steps, constant(1))), {})
