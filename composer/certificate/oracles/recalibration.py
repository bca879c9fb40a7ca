"""A gate per channel from its statistics: GC, SRM, GCT, LCT, FcaNet, NAM."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The best frequencies of FcaNet, vertical and horizontal on a 7×7 map, the best first.
TOP_DOWN = (0, 0, 6, 0, 0, 1, 1, 4, 5, 1, 3, 0, 0, 0, 3, 2)
TOP_ACROSS = (0, 1, 0, 5, 2, 0, 2, 0, 0, 6, 0, 4, 6, 3, 5, 2)


class GlobalContext(nn.Module):
    """arXiv:1904.11492, equation 5: x plus a bottleneck of the softmax-weighted mean."""

    def __init__(self, channels: int, reduction: int = 16, mul: bool = False) -> None:
        super().__init__()
        hidden, self.mul = channels // reduction, mul
        self.mask = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the context of the map at each position."""
        attend = self.mask(x).flatten(2).softmax(2)
        context = torch.einsum("bcn,bn->bc", x.flatten(2), attend[:, 0])
        delta = self.transform(context[:, :, None, None])
        self.seen = {"attend": attend, "context": context, "expand": delta}
        return x * torch.sigmoid(delta) if self.mul else x + delta


class SRM(nn.Module):
    """arXiv:1903.10829: the mean and the deviation of each channel, two weights each, a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cfc = nn.Parameter(torch.zeros(channels, 2))
        self.bn = nn.BatchNorm2d(channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        mean = x.mean((2, 3))
        deviation = (x - mean[:, :, None, None]).square().mean((2, 3)).sqrt()
        z = self.cfc[:, 0] * mean + self.cfc[:, 1] * deviation
        g = torch.sigmoid(self.bn(z[:, :, None, None]))
        self.seen = {"mean": mean, "deviation": deviation, "integrate": z, "gate": g}
        return x * g


class GCT(nn.Module):
    """arXiv:1909.11519, the l2 form: 1 + tanh(γ ŝ + β), where ŝ is s = α |x| divided by its RMS."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.alpha = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        s = self.alpha * torch.sqrt((x * x).sum((2, 3)) + self.eps)
        normed = s / torch.sqrt((s * s).mean(1, keepdim=True) + self.eps)
        gate = 1 + torch.tanh(self.gamma * normed + self.beta)
        self.seen = {"embed": s, "gamma": self.gamma * normed, "gate": gate}
        return x * gate[:, :, None, None]


class LCT(nn.Module):
    """arXiv:1909.03834: means normalised in groups of channels, then sigmoid(w z + b)."""

    def __init__(self, channels: int, groups: int = 64) -> None:
        super().__init__()
        self.groups = groups
        self.w = nn.Parameter(torch.zeros(channels))
        self.b = nn.Parameter(torch.ones(channels))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z = x.mean((2, 3))
        parts = z.reshape(len(z), self.groups, -1)
        off = parts - parts.mean(2, keepdim=True)
        normed = (off / torch.sqrt(off.square().mean(2, keepdim=True) + 1e-5)).reshape(z.shape)
        gate = torch.sigmoid(self.w * normed + self.b)
        self.seen = {"squeeze": z, "norm": normed, "gate": gate}
        return x * gate[:, :, None, None]


def cosines(size: int, frequency: int) -> Tensor:
    """Return one row of the orthonormal DCT-II of a given length."""
    share = (1 if frequency == 0 else 2) / size
    waves = [math.cos(math.pi * frequency * (i + 0.5) / size) for i in range(size)]
    return math.sqrt(share) * torch.tensor(waves, dtype=torch.float64)


class FCA(nn.Module):
    """arXiv:2012.11879: SE whose squeeze is a DCT, each part of the channels at one frequency."""

    def __init__(
        self, channels: int, reduction: int = 16, size: int = 7, parts: int = len(TOP_DOWN)
    ) -> None:
        super().__init__()
        self.size, self.parts = size, parts
        self.w1 = nn.Linear(channels, channels // reduction, bias=False)
        self.w2 = nn.Linear(channels // reduction, channels, bias=False)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        small = functional.adaptive_avg_pool2d(x, self.size)
        step = self.size // 7
        pairs = zip(TOP_DOWN, TOP_ACROSS, strict=True)
        found = []
        for part, (down, across) in zip(small.chunk(self.parts, 1), pairs, strict=False):
            rows, columns = cosines(self.size, step * down), cosines(self.size, step * across)
            found.append(torch.einsum("bchw,h,w->bc", part, rows.to(x), columns.to(x)))
        z = torch.cat(found, 1)
        s = torch.sigmoid(self.w2(torch.relu(self.w1(z))))
        self.seen = {"squeeze": z, "gate": s}
        return x * s[:, :, None, None]


class NAM(nn.Module):
    """arXiv:2111.12419, equation 2: sigmoid of a batch norm, each channel by its share of |γ|."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each value scaled."""
        normed = self.bn(x)
        share = functional.normalize(self.bn.weight, p=1.0, dim=0)
        gate = torch.sigmoid(torch.einsum("bchw,c->bchw", normed, share.abs()))
        self.seen = {"share": share.abs(), "gate": gate}
        return x * gate
