"""The mechanisms as plain torch, written from the papers and not from Composer's code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SE(nn.Module):
    """arXiv:1709.01507: s = sigmoid(W2 relu(W1 z)), z the mean of each channel; x scaled by s."""

    def __init__(
        self, channels: int, reduction: int = 16, bias: bool = True, least: int = 0
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, least)
        self.w1 = nn.Linear(channels, hidden, bias=bias)
        self.w2 = nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        z = x.mean(dim=(2, 3))
        s = torch.sigmoid(self.w2(torch.clamp(self.w1(z), min=0)))
        return torch.einsum("bchw,bc->bchw", x, s)


class SEVar1(nn.Module):
    """arXiv:1910.03151, table 2: sigmoid(z), no parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(z)


class SEVar2(nn.Module):
    """The same: sigmoid(w * z), one weight a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(z * self.w[None, :, None, None])


class SEVar3(nn.Module):
    """The same: sigmoid(W z), a full matrix."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.eye(channels))

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(2).sum(2) / (x.shape[2] * x.shape[3])
        return x * torch.sigmoid(z @ self.w.T)[:, :, None, None]


class ESE(nn.Module):
    """arXiv:1911.06667, the authors' code: a 1x1 convolution with bias, relu6(s + 3) / 6."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = self.fc(nn.functional.adaptive_avg_pool2d(x, 1))
        return x * (torch.clamp(s + 3, 0, 6) / 6)


def eca_kernel(channels: int, gamma: float = 2, beta: float = 1) -> int:
    """t = int(|(log2 c + beta) / gamma|), and one more where that is even."""
    t = int(abs((math.log2(channels) + beta) / gamma))
    return t if t % 2 else t + 1


class ECA(nn.Module):
    """arXiv:1910.03151: each gate sees its k neighbours; one filter, no bias, for all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(eca_kernel(channels)))

    def forward(self, x: Tensor) -> Tensor:
        z, half = x.mean(dim=(2, 3)), len(self.w) // 2
        padded = nn.functional.pad(z, (half, half))
        logits = sum(w * padded[:, i : i + z.shape[1]] for i, w in enumerate(self.w))
        return x * torch.sigmoid(logits)[:, :, None, None]


class CBAM(nn.Module):
    """arXiv:1807.06521, the authors' code: one MLP on mean and max, then [max, mean] by 7x7, BN."""

    def __init__(
        self, channels: int, reduction: int = 16, norm: bool = True, least: int = 0
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, least)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01) if norm else nn.Identity()
        if norm:
            nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        mean = nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        peak = nn.functional.adaptive_max_pool2d(x, 1).flatten(1)
        x = x * torch.sigmoid(self.mlp(mean) + self.mlp(peak))[:, :, None, None]
        maps = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.bn(self.conv(maps)))


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

    def forward(self, x: Tensor) -> Tensor:
        mc = self.mc(x.mean(dim=(2, 3)))[:, :, None, None].expand_as(x)
        ms = self.ms(x).expand_as(x)
        logits = mc + ms if self.total else mc * ms
        return x * (1 + torch.sigmoid(logits))
