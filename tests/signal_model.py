"""Networks for signals and for volumes as a user may write them: ``path:factory``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LAYERS = {1: (nn.Conv1d, nn.BatchNorm1d), 3: (nn.Conv3d, nn.BatchNorm3d)}


class Block(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int, dimensions: int) -> None:
        super().__init__()
        conv, norm = _LAYERS[dimensions]
        self.conv1, self.bn1 = conv(c_in, c_out, 3, stride, 1, bias=False), norm(c_out)
        self.conv2, self.bn2 = conv(c_out, c_out, 3, 1, 1, bias=False), norm(c_out)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            self.shortcut = nn.Sequential(conv(c_in, c_out, 1, stride, bias=False), norm(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


class Net(nn.Module):
    """A stem, two stages of two blocks, and a classifier."""

    def __init__(self, channels: int, dimensions: int) -> None:
        super().__init__()
        conv, norm = _LAYERS[dimensions]
        self.stem = nn.Sequential(conv(channels, 32, 5, 2, 2, bias=False), norm(32), nn.ReLU())
        self.layer1 = nn.Sequential(Block(32, 32, 1, dimensions), Block(32, 32, 1, dimensions))
        self.layer2 = nn.Sequential(Block(32, 64, 2, dimensions), Block(64, 64, 1, dimensions))
        self.fc = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(x.flatten(2).mean(2))


class Tokens(nn.Module):
    """Patches of a signal as tokens behind a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv1d(3, 32, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, 32))
        self.blocks = nn.Sequential(*(TokenBlock() for _ in range(2)))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).mT
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.blocks(tokens)[:, 0])


class TokenBlock(nn.Module):
    """What mixes tokens, and then channels."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.attn = nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y)[0]
        return x + self.mlp(self.norm2(x))


def signal() -> nn.Module:
    return Net(12, 1)


def volume() -> nn.Module:
    return Net(1, 3)
