"""Modules of users' own that the tests lift, and some that can't be."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gate(nn.Module):
    """Squeeze-and-excitation, as people write it."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // reduction, 1)
        self.bn = nn.BatchNorm2d(channels // reduction)
        self.expand = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = functional.adaptive_avg_pool2d(x, 1)
        return x * self.expand(functional.relu(self.bn(self.reduce(s)))).sigmoid()


class Tokens(nn.Module):
    """Attention with products, a softmax and a dropout."""

    def __init__(self, dim: int, heads: int = 4, p: float = 0.1) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.drop = nn.Dropout(p)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attn = torch.softmax(q @ k.transpose(-2, -1) * self.scale, -1)
        return x + self.drop(self.proj((attn @ v).transpose(1, 2).reshape(b, n, c)))


class Pair(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), x


class Branching(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class Reading(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x * x.max().item()


class Sorting(nn.Module):
    """Two operations that the language has not, and one after them that it has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        low = x.flatten(2).sort(-1).values
        high = torch.cumsum(x, 1)
        return self.conv(x) * low.mean(-1)[:, :, None, None] + high


class Same(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Broken(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        raise ValueError("no weights here")


class Positional(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Sliced(nn.Module):
    """A change in place that shows in no call's result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        head = y[:, :2]
        head.mul_(2)
        return y


class Float32(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.float().softmax(-1).to(x.dtype))


def number(channels: int) -> int:
    return channels
