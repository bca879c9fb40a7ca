"""One gate for each channel: SE, its variants, eSE, ECA, as the authors' code is usually written.

Parameters stand in the order of ours, so that weights can be copied one by one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SE(nn.Module):
    """Two 1×1 convolutions on the pooled map."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        return x * self.sigmoid(self.fc2(self.relu(self.fc1(self.pool(x)))))


class SEVar1(nn.Module):
    """The sigmoid of the pooled map."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        return x * self.sigmoid(self.pool(x)).expand_as(x)


class SEVar2(SEVar1):
    """The same with a weight for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        return x * self.sigmoid(self.weight * self.pool(x)).expand_as(x)


class SEVar3(SEVar1):
    """The same with one full layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        return x * self.sigmoid(self.fc(self.pool(x))).expand_as(x)


class ESE(nn.Module):
    """One full layer with a bias, and a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        return x * (functional.relu6(self.fc(self.pool(x)) + 3) / 6)


class ECA(nn.Module):
    """A convolution along the channels of the pooled map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = int(abs((math.log2(channels) + 1) / 2))
        kernel += 1 - kernel % 2
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        y = self.pool(x).squeeze(-1).transpose(1, 2)
        y = self.conv(y).transpose(1, 2).unsqueeze(-1)
        return x * self.sigmoid(y).expand_as(x)
