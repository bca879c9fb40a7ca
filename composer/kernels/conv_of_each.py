"""A convolution with a kernel for each sample.

    y_b = x_b * w_b      is one convolution whose groups are the samples

which is how it is mostly written, and what a GPU is given. On a CPU torch makes it slowly where the
maps are small beside the kernels: one convolution after another takes a third of the time for 512
channels of 7×7.

A compiler and an exporter are given the product of matrices that it is, with the shifted maps side
by side: a number of groups that follows from the batch is fixed by inductor at the batch it saw,
and ONNX has none. On a CPU that takes a quarter to one half of the time, too.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

_SMALL = 64  # places of a map

#: Torch's convolutions by the dimensions of the map.
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def conv_of_each(
    x: Tensor,
    kernel: Tensor,
    stride: int | tuple[int, ...],
    padding: tuple[int, ...],
    dilation: int | tuple[int, ...],
    groups: int,
) -> Tensor:
    """Return the convolution of each sample by its own kernel.

    Args:
        x: ``[other, samples, channels, height, width]``, or with one place axis, or three.
        kernel: ``[samples, out, channels / groups, height, width]``, likewise.
        stride: in every direction, or in each, as `dilation`.
        padding: zeros above and below, left and right.
        dilation: from one weight to the next.
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
    """Return `conv_of_each` as Σ over the weights w of a kernel, and channels, w times a shifted x.

    No size of the map and no number of samples is asked about, so that each may be open.
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
    if kernel.shape[2] == 1 and kernel.shape[1] == groups:  # depthwise: no channel meets another
        weights = flat.reshape(*flat.shape[:2], *(1 for _ in range(places)), -1)
        y = shifted[0] * weights[..., 0]
        for number, one in enumerate(shifted[1:], 1):
            y = y + one * weights[..., number]
        return y
    columns = torch.unflatten(torch.stack(shifted, 3).flatten(4), 2, (groups, -1)).flatten(3, 4)
    products = torch.unflatten(flat, 1, (groups, -1)).flatten(3) @ columns
    return torch.unflatten(products.flatten(2, 3), 3, found)
