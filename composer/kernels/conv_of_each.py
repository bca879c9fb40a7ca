"""A convolution with a kernel for each sample.

    y_b = x_b * w_b      is one convolution whose groups are the samples

which is how it is mostly written, and what a compiler and a GPU are given. On a CPU torch makes it
slowly where the maps are small beside the kernels: one convolution after another takes a third of
the time for 512 channels of 7×7.
"""

from __future__ import annotations

import math

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
    plain = torch.compiler.is_compiling() or type(x) is not Tensor or not x.is_cpu
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
