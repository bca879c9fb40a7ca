"""Gather-Excite over the whole map, as the authors' code is usually written."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GEThetaMinus(nn.Module):
    """The mean of the map, told to each of its pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each pixel scaled."""
        return x * torch.sigmoid(functional.adaptive_avg_pool2d(x, 1))


class GETheta(nn.Module):
    """A depthwise convolution as large as the map, and a norm behind it."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, size, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each pixel scaled."""
        return x * torch.sigmoid(self.bn(self.conv(x)))


class GEThetaPlus(GETheta):
    """The same with a ReLU and SE's two layers before the gate."""

    def __init__(self, channels: int, size: tuple[int, int], reduction: int = 16) -> None:
        super().__init__(channels, size)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each pixel scaled."""
        gathered = self.relu(self.bn(self.conv(x)))
        return x * torch.sigmoid(self.fc2(self.relu(self.fc1(gathered))))
