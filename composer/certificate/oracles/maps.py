"""Channel and spatial attention: CBAM with its two halves, BAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CBAMChannel(nn.Module):
    """arXiv:1807.06521, equation 2: one MLP on the mean and on the maximum, their sum a gate."""

    def __init__(
        self, channels: int, reduction: int = 16, bias: bool = True, least: int = 0
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, least)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),
        )
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        mean = functional.adaptive_avg_pool2d(x, 1)
        peak = functional.adaptive_max_pool2d(x, 1)
        logits = self.mlp(mean) + self.mlp(peak)
        gate = torch.sigmoid(logits)
        self.seen = {"mean": mean, "max": peak, "sum": logits, "gate": gate}
        return x * gate


class CBAMSpatial(nn.Module):
    """arXiv:1807.06521, equation 3, and the authors' code: [max, mean] over c, a 7x7, a norm."""

    def __init__(self, kernel: int = 7, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01) if norm else nn.Identity()
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each position scaled."""
        peak, mean = x.max(1, keepdim=True).values, x.mean(1, keepdim=True)
        logits = self.bn(self.conv(torch.cat([peak, mean], 1)))
        gate = torch.sigmoid(logits)
        self.seen = {"max": peak, "mean": mean, "locate": logits, "gate": gate}
        return x * gate


class CBAM(nn.Module):
    """arXiv:1807.06521, equation 1: channel attention first, then spatial attention."""

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        norm: bool = True,
        bias: bool = True,
        least: int = 0,
    ) -> None:
        super().__init__()
        self.channel = CBAMChannel(channels, reduction, bias, least)
        self.spatial = CBAMSpatial(7, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, scaled twice."""
        refined: Tensor = self.channel(x)
        out: Tensor = self.spatial(refined)
        return out


class BAM(nn.Module):
    """arXiv:1807.06514: x + x * sigmoid(Mc * Ms) in the authors' code, Mc + Ms in the paper."""

    def __init__(
        self, channels: int, reduction: int = 16, total: bool = False, least: int = 0
    ) -> None:
        super().__init__()
        hidden, self.total = max(channels // reduction, least), total
        self.mc = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )
        layers: list[nn.Module] = [nn.Conv2d(channels, hidden, 1)]
        for _ in range(2):
            layers += [nn.BatchNorm2d(hidden), nn.ReLU()]
            layers += [nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4)]
        layers += [nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, 1, 1)]
        self.ms = nn.Sequential(*layers)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x and x scaled, summed."""
        mc = self.mc(x.mean(dim=(2, 3)))[:, :, None, None]
        ms = self.ms(x)
        logits = mc.expand_as(x) + ms if self.total else mc.expand_as(x) * ms
        gate = torch.sigmoid(logits)
        self.seen = {"channel": mc, "spatial": ms, "gate": gate}
        return x * (1 + gate)
