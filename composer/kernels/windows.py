"""Unfolds a map into windows on new axes, and folds them back by summing.

Torch's `unfold` copies element by element. Without gradients, windows are a view of the padded map,
copied once by rows, which takes a third of the time on the CPU. The gradient of such a view is
slow, so with gradients torch's own operators run; they do not support three spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary


def unfold(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return the windows of x over its last axes, with zeros around it.

    Args:
        x: ``[..., *places]``; the other arguments have one number per spatial axis.
        kernel: the size of a window.
        stride: the step between windows.
        padding: zeros on each side.
        dilation: the step within a window.

    Returns:
        [..., *kernel, *windows], with the number of windows along each axis.
    """
    given = (kernel, stride, padding, dilation)
    if has_torch_function_unary(x):
        return handle_torch_function(unfold, (x,), x, *given)
    learns = torch.compiler.is_compiling() or (x.requires_grad and torch.is_grad_enabled())
    if len(kernel) > 2 or not learns:
        return _view(x, *given).contiguous()
    size = x.shape[-len(kernel) :]
    y = functional.unfold(_as_maps(x, len(kernel)), *_of_two(kernel, dilation, padding, stride))
    return y.reshape(*x.shape[: -len(kernel)], *kernel, *map(_number, size, *given))


def fold(
    x: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return the sum of windows at the positions from which `unfold` took them.

    Args:
        x: ``[..., *kernel, *windows]``.
        size: of the map.
        kernel: the size of a window.
        stride: the step between windows.
        padding: how far windows reach beyond each side; values there are dropped.
        dilation: the step within a window.

    Returns:
        [..., *size].
    """
    given = (size, kernel, stride, padding, dilation)
    if has_torch_function_unary(x):
        return handle_torch_function(fold, (x,), x, *given)
    places = len(kernel)
    if places > 2:  # a sum over a box is separable: first along its last axis, then over the others
        x = x.movedim(-places - 1, -2)
        x = fold(x, *(numbers[-1:] for numbers in given)).movedim(-1, 1 - 2 * places)
        return fold(x, *(numbers[:-1] for numbers in given)).movedim(-places, -1)
    columns = x.reshape(1, -1, math.prod(x.shape[-places:]))
    whole = (1, *size)[-2:]
    y = functional.fold(columns, whole, *_of_two(kernel, dilation, padding, stride))
    return y.reshape(*x.shape[: -2 * places], *size)


def _view(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return the windows as a view of the zero-padded x."""
    places = len(kernel)
    if any(padding):
        x = functional.pad(x, [zeros for zeros in reversed(padding) for _ in range(2)])
    for axis in range(places):  # its windows go to the end, so the next axis takes its place
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        x = x.unfold(-places, reach, stride[axis])[..., :: dilation[axis]]
    return x.movedim(tuple(range(-places, 0)), tuple(range(-2 * places, -places)))


def _number(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return the number of windows along an axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _as_maps(x: Tensor, places: int) -> Tensor:
    """Return x as [1, channels, height, width]; one axis is a row."""
    return x.reshape(1, -1, *(1, *x.shape[-places:])[-2:])


def _of_two(
    kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Return the numbers for height and width, in torch's order."""
    return (
        (1, *kernel)[-2:], (1, *dilation)[-2:], (0, *padding)[-2:], (1, *stride)[-2:]
    )  # fmt: skip
