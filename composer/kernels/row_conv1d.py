"""One filter along the last axis of many rows, as a convolution of an image of these rows.

A 1×k filter over an image of height b processes each row separately, so

    conv1d(rows as b signals of one channel, w) = conv2d(rows as one image, w as 1×k)

Torch processes many small signals with code for many channels, but not one small image: for 8 rows
of 1,024 the second takes a fifth of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

_IMAGE = 20_480  # values up to which torch treats a one-channel image as small


def row_conv1d(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution of each row, with the same length.

    Args:
        rows: ``[rows, length]``.
        weight: ``[1, 1, kernel]``, with an odd kernel.
        bias: ``[1]``.
    """
    given = (rows, weight) if bias is None else (rows, weight, bias)
    if has_torch_function_variadic(*given):
        return handle_torch_function(row_conv1d, given, rows, weight, bias)
    padding = weight.shape[2] // 2
    if rows.shape[0] == 1:  # one row is already one signal, of one channel
        return functional.conv1d(rows, weight, bias, 1, padding)
    kernel = weight.unsqueeze(2)

    def filtered(rows: Tensor) -> Tensor:
        return functional.conv2d(rows[None, None], kernel, bias, 1, (0, padding))[0, 0]

    if torch.compiler.is_compiling() or rows.numel() <= _IMAGE:
        return filtered(rows)
    rows_of_an_image = max(_IMAGE // rows.shape[1], 1)
    return torch.cat([filtered(some) for some in torch.split(rows, rows_of_an_image)])


class RowConv1d(nn.Conv1d):
    """A `Conv1d` with one channel for ``[rows, length]`` instead of ``[rows, 1, length]``."""

    def __init__(self, kernel: int, bias: bool) -> None:
        super().__init__(1, 1, kernel, padding=kernel // 2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Return rows of the same length."""
        return row_conv1d(input, self.weight, self.bias)
