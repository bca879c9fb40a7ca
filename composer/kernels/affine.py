"""A weight and a bias for each channel, wherever the channels lie: a layer whose groups have one.

As a convolution of as many groups as channels, torch first makes the channels the second axis.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Affine(nn.Conv1d):
    """A 1×1 `Conv1d` of as many groups as channels, for values of any axes.

    Args:
        channels: how many there are.
        bias: whether each has one.
        behind: how many axes come after the channels.
    """

    def __init__(self, channels: int, bias: bool, behind: int) -> None:
        super().__init__(channels, channels, 1, groups=channels, bias=bias)
        self.behind = behind

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the word torch uses
        """Return each value times the weight of its channel, plus the bias."""
        shape = (-1, *[1] * self.behind)
        weight = self.weight.reshape(shape)
        if self.bias is None:
            return input * weight
        return torch.addcmul(self.bias.reshape(shape), input, weight)
