"""A gate per position, or per value: scSE, SimAM, SGE, MLCA, shuffle attention, EMA."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SCSE(nn.Module):
    """arXiv:1803.02579: SE, and one sigmoid per position; the sum of both maps, or the maximum."""

    def __init__(self, channels: int, reduction: int = 2, largest: bool = False) -> None:
        super().__init__()
        self.largest = largest
        self.w1 = nn.Linear(channels, channels // reduction)
        self.w2 = nn.Linear(channels // reduction, channels)
        self.sq = nn.Conv2d(channels, 1, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x scaled both ways, combined."""
        channel = torch.sigmoid(self.w2(torch.relu(self.w1(x.mean((2, 3))))))
        spatial = torch.sigmoid(self.sq(x))
        cse, sse = x * channel[:, :, None, None], x * spatial
        self.seen = {"channel": channel, "spatial": spatial, "cse": cse, "sse": sse}
        return torch.maximum(cse, sse) if self.largest else cse + sse


class SimAM(nn.Module):
    """ICML 2021, figure 3: sigmoid(1 / energy), where the energy of a distinctive value is low."""

    def __init__(self, eps: float = 1e-4) -> None:
        super().__init__()
        self.eps = eps
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each value scaled."""
        others = max(x.shape[2] * x.shape[3] - 1, 1)
        d = (x - x.mean((2, 3), keepdim=True)) ** 2
        v = d.sum((2, 3), keepdim=True) / others
        inverse = d / (4 * (v + self.eps)) + 0.5
        gate = torch.sigmoid(inverse)
        self.seen = {"square": d, "inverse": inverse, "gate": gate}
        return x * gate


class SGE(nn.Module):
    """arXiv:1905.09646: a gate from the similarity to the group's mean, normalised over the map."""

    def __init__(self, groups: int = 64) -> None:
        super().__init__()
        self.groups = groups
        self.gamma = nn.Parameter(torch.zeros(groups))
        self.beta = nn.Parameter(torch.ones(groups))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each position of each group scaled."""
        b, c, h, w = x.shape
        parts = x.reshape(b, self.groups, c // self.groups, h * w)
        similar = (parts * parts.mean(3, keepdim=True)).sum(2)
        off = similar - similar.mean(2, keepdim=True)
        normed = off / torch.sqrt(off.square().mean(2, keepdim=True) + 1e-5)
        gate = torch.sigmoid(self.gamma[:, None] * normed + self.beta[:, None])
        self.seen = {"similar": similar, "norm": normed, "gate": gate}
        return (parts * gate[:, :, None]).reshape(x.shape)


class MLCA(nn.Module):
    """The paper's figure: ECA on the mean, and along the flattened channels of 5×5 local means."""

    def __init__(self, channels: int, size: int = 5, share: float = 0.5) -> None:
        super().__init__()
        self.size, self.share = size, share
        t = int(abs(math.log2(channels) + 1) / 2)
        kernel = t if t % 2 else t + 1
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each value scaled."""
        b, c, h, w = x.shape
        local = functional.adaptive_avg_pool2d(x, self.size)
        far = self.conv(local.mean((2, 3)).unsqueeze(1)).reshape(b, c, 1, 1)
        line = local.permute(0, 2, 3, 1).reshape(b, 1, -1)
        near = self.conv_local(line).reshape(b, self.size, self.size, c).permute(0, 3, 1, 2)
        mixed = self.share * torch.sigmoid(near) + (1 - self.share) * torch.sigmoid(far)
        gate = functional.adaptive_avg_pool2d(mixed, (h, w))
        self.seen = {"far": far, "near": self.conv_local(line), "mixed": mixed, "gate": gate}
        return x * gate


class ShuffleAttention(nn.Module):
    """arXiv:2102.00240: half of each group gated by channel, half by position, then a shuffle."""

    def __init__(self, channels: int, groups: int = 64) -> None:
        super().__init__()
        self.groups, width = groups, channels // (2 * groups)
        self.w1 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.b1 = nn.Parameter(torch.ones(1, width, 1, 1))
        self.w2 = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.b2 = nn.Parameter(torch.ones(1, width, 1, 1))
        self.gn = nn.GroupNorm(width, width)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each half scaled, with the channels of the two halves interleaved."""
        groups = x.reshape(len(x) * self.groups, -1, *x.shape[2:])
        one, two = groups.tensor_split(2, 1)
        channel = torch.sigmoid(self.w1 * functional.adaptive_avg_pool2d(one, 1) + self.b1)
        spatial = torch.sigmoid(self.w2 * self.gn(two) + self.b2)
        self.seen = {"channel": channel, "spatial": spatial}
        joined = torch.cat([one * channel, two * spatial], 1).reshape(x.shape)
        return functional.channel_shuffle(joined, 2)


class EMA(nn.Module):
    """arXiv:2305.13563: a branch gated by rows and columns, one of 3×3, each with a key."""

    def __init__(self, channels: int, groups: int = 32) -> None:
        super().__init__()
        self.groups, width = groups, channels // groups
        self.conv1 = nn.Conv2d(width, width, 1)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.gn = nn.GroupNorm(width, width)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each position of each group scaled."""
        parts = x.reshape(len(x) * self.groups, -1, *x.shape[2:])
        down = torch.sigmoid(self.conv1(parts.mean(3, keepdim=True)))
        across = torch.sigmoid(self.conv1(parts.mean(2, keepdim=True)))
        fine, coarse = self.gn(parts * down * across), self.conv3(parts)
        keys = [branch.mean((2, 3)).softmax(1) for branch in (fine, coarse)]
        logits = torch.einsum("bchw,bc->bhw", coarse, keys[0])
        logits = logits + torch.einsum("bchw,bc->bhw", fine, keys[1])
        gate = torch.sigmoid(logits)[:, None]
        self.seen = {"down": down, "right": across, "fine": fine, "coarse": coarse, "gate": gate}
        return (parts * gate).reshape(x.shape)
