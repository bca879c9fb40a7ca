"""A convolution with one kernel per sample.

    y_b = x_b * w_b      is one convolution whose groups are the samples

This is the usual form, and the one for a GPU. On a CPU torch is slow if the maps are small compared
with the kernels: separate convolutions take a third of the time for 512 channels of 7×7.

Compilers and exporters get the equivalent matrix product with stacked shifted maps: inductor would
fix a number of groups that depends on the batch, and ONNX does not support it. On a CPU this also
takes only a quarter to a half of the time.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

_SMALL = 64  # positions of a map

#: Torch's convolutions by the number of spatial dimensions.
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def conv_of_each(
    x: Tensor,
    kernel: Tensor,
    stride: int | tuple[int, ...],
    padding: tuple[int, ...],
    dilation: int | tuple[int, ...],
    groups: int,
) -> Tensor:
    """Return the convolution of each sample with its own kernel.

    Args:
        x: ``[other, samples, channels, height, width]``, or with one or three spatial axes.
        kernel: ``[samples, out, channels / groups, height, width]``, likewise.
        stride: one number, or one per axis; likewise `dilation`.
        padding: zeros on each side.
        dilation: the step within the kernel.
        groups: of the convolution of one sample.

    Returns:
        ``[other, samples, out, height, width]``
    """
    if has_torch_function_variadic(x, kernel):
        return handle_torch_function(
            conv_of_each, (x, kernel), x, kernel, stride, padding, dilation, groups
        )
    if torch.compiler.is_compiling():
        return _by_matrix(x, kernel, stride, padding, dilation, groups)
    plain = type(x) is not Tensor or not x.is_cpu
    convolution = CONVOLUTIONS[len(padding)]
    if plain or math.prod(x.shape[3:]) > _SMALL:
        samples, out = kernel.shape[:2]
        y = convolution(
            x.flatten(1, 2), kernel.flatten(0, 1), None, stride, padding, dilation,
            samples * groups,
        )  # fmt: skip
        return torch.unflatten(y, 1, (samples, out))
    return torch.stack([
        convolution(one, by, None, stride, padding, dilation, groups)
        for one, by in zip(x.unbind(1), kernel.unbind(0), strict=True)
    ], 1)  # fmt: skip


def _by_matrix(
    x: Tensor,
    kernel: Tensor,
    stride: int | tuple[int, ...],
    padding: tuple[int, ...],
    dilation: int | tuple[int, ...],
    groups: int,
) -> Tensor:
    """Return `conv_of_each` as a sum over kernel positions and channels of w times a shifted x.

    It does not read the map's sizes or the batch size, so each may be open.
    """
    places, size = len(padding), kernel.shape[3:]
    steps = (stride,) * places if isinstance(stride, int) else stride
    apart = (dilation,) * places if isinstance(dilation, int) else dilation
    found = [
        (length + 2 * zeros - far * (weights - 1) - 1) // step + 1
        for length, zeros, far, weights, step in zip(
            x.shape[3:], padding, apart, size, steps, strict=True
        )
    ]
    if any(padding):
        x = functional.pad(x, [zeros for zeros in reversed(padding) for _ in range(2)])
    shifted = []
    for where in itertools.product(*map(range, size)):
        starts = [at * far for at, far in zip(where, apart, strict=True)]
        ends = [start + (n - 1) * step + 1
                for start, n, step in zip(starts, found, steps, strict=True)]  # fmt: skip
        part: tuple[Any, ...] = (..., *map(slice, starts, ends, steps))
        shifted.append(x[part])
    flat = kernel.flatten(3)  # [samples, out, channels / groups, weights]
    if kernel.shape[2] == 1 and kernel.shape[1] == groups:  # depthwise: channels are not mixed
        weights = flat.reshape(*flat.shape[:2], *(1 for _ in range(places)), -1)
        y = shifted[0] * weights[..., 0]
        for number, one in enumerate(shifted[1:], 1):
            y = y + one * weights[..., number]
        return y
    columns = torch.unflatten(torch.stack(shifted, 3).flatten(4), 2, (groups, -1)).flatten(3, 4)
    products = torch.unflatten(flat, 1, (groups, -1)).flatten(3) @ columns
    return torch.unflatten(products.flatten(2, 3), 3, found)
