"""A weight and a bias per channel, with the channels at any dimension.

torch's depthwise convolution would first move the channels to the second dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Affine(nn.Conv1d):
    """A depthwise 1×1 `Conv1d` for values with any axes.

    Args:
        channels: the number of channels.
        bias: whether each channel has a bias.
        behind: the number of axes after the channels.
    """

    def __init__(self, channels: int, bias: bool, behind: int) -> None:
        super().__init__(channels, channels, 1, groups=channels, bias=bias)
        self.behind = behind

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Return each value times the weight of its channel, plus the bias."""
        shape = (-1, *[1] * self.behind)
        weight = self.weight.reshape(shape)
        if self.bias is None:
            return input * weight
        return torch.addcmul(self.bias.reshape(shape), input, weight)
