"""One filter along the last axis of many rows, as a convolution of one image of these rows.

A filter of 1×k over an image of height b sees each row alone, so

    conv1d(rows as b signals of one channel, w) = conv2d(rows as one image, w as 1×k)

Torch sends many small signals through a path made for many channels, and one small image past it:
for 8 rows of 1,024 the second takes a fifth of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

_IMAGE = 20_480  # numbers, to which torch takes an image of one channel for a small one


def row_conv1d(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution of each row, of the same length.

    Args:
        rows: ``[rows, length]``.
        weight: ``[1, 1, kernel]``, where the kernel is odd.
        bias: ``[1]``.
    """
    given = (rows, weight) if bias is None else (rows, weight, bias)
    if has_torch_function_variadic(*given):
        return handle_torch_function(row_conv1d, given, rows, weight, bias)
    padding = weight.shape[2] // 2
    if rows.shape[0] == 1:  # one row is one signal as it is
        return functional.conv1d(rows.unsqueeze(1), weight, bias, 1, padding).squeeze(1)
    kernel = weight.unsqueeze(2)

    def filtered(rows: Tensor) -> Tensor:
        return functional.conv2d(rows[None, None], kernel, bias, 1, (0, padding))[0, 0]

    if torch.compiler.is_compiling() or rows.numel() <= _IMAGE:
        return filtered(rows)
    rows_of_an_image = max(_IMAGE // rows.shape[1], 1)
    return torch.cat([filtered(some) for some in torch.split(rows, rows_of_an_image)])


class RowConv1d(nn.Conv1d):
    """A `Conv1d` of one channel for ``[rows, length]``, where that takes ``[rows, 1, length]``."""

    def __init__(self, kernel: int, bias: bool) -> None:
        super().__init__(1, 1, kernel, padding=kernel // 2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the word torch uses
        """Return rows of the same length."""
        return row_conv1d(input, self.weight, self.bias)
