"""Channels and places: CBAM with its two halves, BAM, as the authors' code is usually written."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CBAMChannel(nn.Module):
    """One MLP, called on the mean and on the maximum."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.mean, self.max = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // reduction, channels, 1),
        )
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        gate = self.sigmoid(self.mlp(self.mean(x)) + self.mlp(self.max(x)))
        return x * gate.expand_as(x)


class CBAMSpatial(nn.Module):
    """A 7×7 convolution on the maximum and the mean over the channels."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each position scaled."""
        maximum = torch.max(x, dim=1, keepdim=True)[0]
        maps = torch.cat([maximum, torch.mean(x, dim=1, keepdim=True)], dim=1)
        return x * self.sigmoid(self.bn(self.conv(maps)))


class CBAM(nn.Module):
    """The channels first, the places after them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel, self.spatial = CBAMChannel(channels), CBAMSpatial()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel and then each place scaled."""
        out: Tensor = self.spatial(self.channel(x))
        return out


class BAM(nn.Module):
    """Channels and places side by side, their product behind one sigmoid."""

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        hidden = channels // reduction
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels),
        )
        layers: list[nn.Module] = [nn.Conv2d(channels, hidden, 1)]
        for _ in range(2):
            layers += [nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)]
        layers += [nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), nn.Conv2d(hidden, 1, 1)]
        self.spatial = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return x and x scaled, summed."""
        channel = self.channel(x)[:, :, None, None].expand_as(x)
        return (1 + torch.sigmoid(channel * self.spatial(x).expand_as(x))) * x
