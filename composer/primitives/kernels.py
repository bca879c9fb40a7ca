"""A convolution with a computed kernel: one for all samples, or one per sample."""

from __future__ import annotations

import operator
from typing import Any

from composer.language.expressions import Expr, bind, constant, difference
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, Emitter, need_axes
from composer.primitives.per_axis import alike
from composer.primitives.places import OF_KERNEL
from composer.primitives.windows import Numbers


def kernel_axes(dimensions: int) -> tuple[str, ...]:
    """Return the axes of a kernel: output channels, input channels per group, height, width."""
    return ("o", "i", *OF_KERNEL[dimensions])


def need_kernel(
    weight: Expr, axes: Axes, batch: str, channels: Expr, groups: Expr, own: tuple[str, ...]
) -> None:
    """Refuse a value that is not a kernel for so many channels; `own` are the axes of one.

    Raises:
        AxisProblem: code ``unknown-axis``, ``surplus-axis`` or ``size-conflict``.
    """
    need_axes(axes, own, ("weight",), weight)
    for axis in axes.without((*own, batch)):
        raise AxisProblem(
            "surplus-axis",
            f"{str(weight)!r} has the axis {axis!r}, which a kernel does not have",
            ("weight",),
            f"a kernel is [{', '.join(own)}], with {batch!r} for one kernel per sample; "
            "remove other axes with pick or a sum",
        )
    each = channels if groups == constant(1) else bind(Expr("/", 0, (channels, groups)), {})
    if difference(axes["i"], each) is not None:
        come_in = f"there are {channels} input channels"
        if each is not channels:
            come_in += f", {each} for each of {groups} groups"
        raise AxisProblem(
            "size-conflict",
            f"axis 'i' of {str(weight)!r} is {axes['i']}, and {come_in}",
            ("weight",),
            f"give the axis i the size {each}",
        )


def one_for_all(emit: Emitter, x: Any, kernel: Any, numbers: Numbers, groups: int) -> Any:
    """Emit the convolution of [batch, channels, height, width] with one kernel."""
    from composer.kernels.conv_of_each import CONVOLUTIONS

    return emit.function(
        CONVOLUTIONS[len(numbers.padding)], x, kernel, None, alike(numbers.stride),
        numbers.padding, alike(numbers.dilation), groups,
    )  # fmt: skip


def pointwise(emit: Emitter, x: Any, kernel: Any, stride: tuple[int, ...], axes: int) -> Any:
    """Emit the 1×1 convolution of [batch, channels, …, height, width], with so many axes.

    Each sample has its own kernel, so it is a batched matrix product, which is faster than a
    convolution with one group per sample.
    """
    import torch

    if max(stride) > 1:
        steps = tuple(slice(None, None, step) for step in stride)
        x = emit.function(operator.getitem, x, (..., *steps))
        # flatten also copies, but an export would then be valid only for odd or even sizes
        x = emit.method("clone", x, memory_format=torch.contiguous_format)
    flat = (emit.method("flatten", value, 2) for value in (kernel, x))
    node = emit.function(torch.bmm, *flat)
    sizes = tuple(emit.method("size", x, axis) for axis in range(2, axes))
    return emit.method("unflatten", node, 2, sizes)


def one_for_each(emit: Emitter, x: Any, kernel: Any, numbers: Numbers, groups: int) -> Any:
    """Emit that of [other, batch, channels, height, width], with one kernel per sample."""
    from composer.kernels.conv_of_each import conv_of_each

    stride, dilation = alike(numbers.stride), alike(numbers.dilation)
    return emit.function(conv_of_each, x, kernel, stride, numbers.padding, dilation, groups)
