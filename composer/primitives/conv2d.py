"""`conv2d`: a convolution over two axes, or one, that mixes another; all others ride along."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, constant, name
from composer.language.fields import Amounts, AxisName, AxisNames, Flag, NodeRef, Size, Sizes
from composer.language.source import YamlPath
from composer.primitives.activations import Act, activate, applied
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import (
    AxisProblem,
    Emitter,
    Primitive,
    elements,
    flag,
    misuse,
    need_axes,
    need_odd,
    whole,
)
from composer.primitives.batch import folded, unfolded
from composer.primitives.channels import Out, need_free, need_groups, out_axes, product, spread
from composer.primitives.cost import Cost, of_layer
from composer.primitives.initialise import AS_TORCH, BiasInit, WeightInit, begun, need_bias
from composer.primitives.kernels import (
    kernel_axes,
    need_kernel,
    one_for_all,
    one_for_each,
    pointwise,
)
from composer.primitives.normalization import NO_NORM, NormField
from composer.primitives.per_axis import alike, by_axis, down_and_across, for_each
from composer.primitives.windows import OF_WINDOWS, Slide


class Conv2d(Primitive):
    """A convolution `over` two axes, by default padded so that stride 1 keeps their sizes.

    Kernel, stride, padding and dilation are one number, or one for each axis: ``kernel: [1, 7]``.
    ``over: h`` slides along one axis, as on the rows of strip pooling (arXiv:2003.13328). On a
    volume it is a three-dimensional convolution, on a signal a one-dimensional one.

    It mixes the axis `channels`; a value without that axis counts as one channel. Its kernel is
    learned, or a node with the axes ``[o, i, kh, kw]``, also with the batch for one per sample.
    """

    example: ClassVar[str] = "out: {op: conv2d, kernel: 3, groups: c, norm: batch, act: relu}"
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "layer"
    anew: ClassVar[bool] = True

    op: Literal["conv2d"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    over: AxisNames = Field(
        default=("h", "w"),
        min_length=1,
        max_length=2,
        description="the axes it slides over, one or two",
    )
    channels: AxisName = Field(default="c", description="the axis it mixes")
    kernel: Sizes | None = Field(
        default=None,
        description="its height and width, one number or one for each of 'over', as [1, 7]; odd "
        "unless a padding is given",
    )
    weight: NodeRef | None = Field(
        default=None,
        description="a node to use as the kernel, [o, i, kh, kw], instead of a learned one",
    )
    out: Out = Field(
        default=None,
        description="the new number of channels (the same by default), or the axes that replace "
        "them; {} for a single map without a channel axis",
    )
    stride: Sizes = Field(
        default=(constant(1),),
        description="the step of the kernel, one number or one for each axis",
    )
    padding: Amounts | None = Field(
        default=None,
        description="zeros on each side, one number or one for each axis; "
        "dilation * (kernel // 2) by default",
    )
    dilation: Sizes = Field(
        default=(constant(1),), description="of the kernel, one number or one for each axis"
    )
    groups: Size = Field(
        default=constant(1), description="the number of groups; c makes it depthwise"
    )
    bias: Flag | None = Field(default=None, description="true by default, unless a norm follows")
    init: WeightInit = AS_TORCH
    bias_init: BiasInit = None
    norm: NormField = Field(default=NO_NORM, description="after the layer")
    act: Act = Field(default=constant("none"), description="the activation, after the norm")

    @model_validator(mode="after")
    def _one_kernel(self) -> Conv2d:
        if self.weight is None and self.kernel is None:
            raise ValueError(
                "conv2d needs 'kernel', its height and width, or 'weight', a node that is one"
            )
        if self.weight is not None:
            for field in ("kernel", "out", "bias", "init", "bias_init", "norm"):
                if field in self.model_fields_set:
                    raise ValueError(
                        f"{field!r} has no effect together with the weight {str(self.weight)!r}; "
                        "remove one of the two"
                    )
        if self.padding is not None and name("same") in self.padding:
            raise misuse("a padding that keeps the size is the default", "omit 'padding'")
        need_bias(self.bias_init, self.bias, self.norm.fn)
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes with the channels replaced and, under a stride, smaller maps."""
        assert self.x is not None
        have = axes(self.x)
        need_axes(have, self.over, ("over",), self.x)
        if self.channels in self.over:
            raise AxisProblem(
                "duplicate-axis",
                f"the kernel slides over the axis {self.channels!r}, so it can't be the channels",
                ("channels",),
                "name the axis of the channels",
            )
        channels = have[self.channels] if self.channels in have else constant(1)
        new = self._new_axes(channels, axes)
        rest = have.without([self.channels])
        need_free(rest, new, self.x)
        need_groups(self.groups, channels, product(new))
        self.norm.need(product(new), rest, order, self.over, layer="conv2d")
        if self.weight is not None:
            batch = order.input[0]
            own = kernel_axes(len(self.over))
            need_kernel(self.weight, axes(self.weight), batch, channels, self.groups, own)
            if batch in axes(self.weight):
                need_axes(have, (batch,), ("x",), self.x)
        slide = self.slide(axes)
        if self.padding is None:
            for index, kernel in enumerate(slide.kernel):
                need_odd(kernel, ("kernel", index) if self.weight is None else ("weight",))
        for axis, count in slide.counts(have).items():
            rest = rest.resized(axis, count)
        return rest.extended(new, order)

    def _new_axes(self, channels: Expr, axes: Callable[[Expr], Axes]) -> dict[str, Expr]:
        if self.weight is None:
            return out_axes(self.out, self.channels, channels)
        need_axes(axes(self.weight), kernel_axes(len(self.over)), ("weight",), self.weight)
        return {self.channels: axes(self.weight)["o"]}

    def slide(self, axes: Callable[[Expr], Axes]) -> Slide:
        """Return the window, with a kernel size along each axis."""
        if self.weight is not None:
            kernel = tuple(axes(self.weight)[k] for k in kernel_axes(len(self.over))[2:])
        else:
            assert self.kernel is not None
            kernel = for_each(self.kernel, self.over, "kernel")
        return Slide(self.over, kernel, self.stride, self.padding, self.dilation)

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field that gives one value per axis, if any."""
        return down_and_across(self, OF_WINDOWS)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return true: that is what it is for."""
        return True

    def lower(self, emit: Emitter) -> Any:
        """Emit convolution, norm and activation on [batch, channels, height, width]."""
        if self.weight is not None:
            return self._lower_by_value(emit, self.weight)
        from torch import nn

        assert self.x is not None
        axes = emit.axes(self.x)
        channels = whole(axes[self.channels]) if self.channels in axes else 1
        new = out_axes(self.out, self.channels, constant(channels))
        riding = axes.without([self.channels, *self.over]).names
        numbers, width = self.slide(emit.axes).numbers(), whole(product(new))
        kinds: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        layer = kinds[len(self.over) - 1](
            channels,
            width,
            alike(numbers.kernel),
            stride=alike(numbers.stride),
            padding=numbers.padding,
            dilation=alike(numbers.dilation),
            groups=whole(self.groups),
            bias=self.has_bias,
        )
        layer = begun(layer, self.init, self.bias_init)
        x = emit.arrange(emit.node(self.x), axes.names, (*riding, self.channels, *self.over))
        node = emit.module("conv", layer, folded(emit, x, len(riding)))
        node = self.norm.write(emit, node, 1, width, len(self.over))
        node = activate(emit, str(self.act.value), node, own=True)
        node = unfolded(emit, spread(emit, node, new, 1, self.channels), x, len(riding))
        return emit.arrange(node, (*riding, *new, *self.over), emit.axes(emit.here).names)

    @property
    def has_bias(self) -> bool:
        """Whether it adds a bias: by default, unless a norm follows."""
        return not self.norm.is_on if self.bias is None else flag(self.bias)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost; a kernel that is a node has no parameters here."""
        assert self.x is not None
        places = math.prod(whole(size, ("kernel",)) for size in self.slide(axes).kernel)
        size = elements(own)
        if self.weight is not None:
            return Cost(flops=size * whole(axes(self.weight)["i"]) * places)
        have = axes(self.x)
        channels = have[self.channels] if self.channels in have else constant(1)
        width = whole(product(out_axes(self.out, self.channels, channels)))
        inputs = whole(channels) // whole(self.groups) * places
        return of_layer(inputs, width, size, self.has_bias) + self.norm.cost(width, size)

    def _lower_by_value(self, emit: Emitter, weight: Expr) -> Any:
        """Emit the convolution by a computed kernel, in its fastest form."""
        assert self.x is not None
        axes, have = emit.axes(self.x), emit.axes(weight)
        numbers, groups = self.slide(emit.axes).numbers(), whole(self.groups)
        own = kernel_axes(len(self.over))
        batch = have.without(own).names
        kernel = emit.arrange(emit.node(weight), have.names, (*batch, *own))
        riding = axes.without([*batch, self.channels, *self.over]).names
        small = groups == max(numbers.kernel) == 1 and not any(numbers.padding)
        order = (*riding, *batch, self.channels, *self.over)
        if batch and small:
            order = (*batch, self.channels, *riding, *self.over)
        elif have.names != (*batch, *own):  # torch's backward refuses some other memory layouts
            kernel = emit.method("contiguous", kernel)
        x = emit.arrange(emit.node(self.x), axes.names, order)
        if batch and small:
            node = pointwise(emit, x, kernel, numbers.stride, len(order))
        elif batch:
            node = one_for_each(emit, folded(emit, x, len(riding)), kernel, numbers, groups)
            node = unfolded(emit, node, x, len(riding))
        else:
            node = one_for_all(emit, folded(emit, x, len(riding)), kernel, numbers, groups)
            node = unfolded(emit, node, x, len(riding))
        node = activate(emit, str(self.act.value), node, own=True)
        return emit.arrange(node, order, emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``conv2d 7×7``."""
        size = f"by {self.weight}"
        if self.kernel is not None:
            size = by_axis(self.kernel, self.over)
        dilated = "×".join(dict.fromkeys(map(str, self.dilation)))
        dilated = "" if dilated == "1" else f", dilation {dilated}"
        return f"conv{len(self.over)}d {size}{dilated}"

    def formula(self) -> str:
        """Return such as ``relu(BN(W * x))``, or ``kernel * x`` if a node is its kernel."""
        if self.weight is not None:
            return applied(self.act, f"{self.weight} * x")
        return applied(self.act, self.norm.formula("W * x + b" if self.has_bias else "W * x"))

    def carries(self) -> tuple[Expr, ...]:
        """Return x, but not its kernel."""
        return tuple(ref for path, ref in self.operands() if path != ("weight",))
