"""A network as a user may write it: own block classes, and what makes them hard to read."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as users write it
from torch import Tensor, nn


def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
    )


class DropPath(nn.Module):
    """A module of one's own that drops whole samples."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.rate
        return x * (torch.rand(x.shape[0], 1, 1, 1, device=x.device) < keep) / keep


class Residual(nn.Module):
    """Drop path as a module."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(c, c), nn.Conv2d(c, c, 3, 1, 1), nn.BatchNorm2d(c))
        self.drop_path = DropPath(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.drop_path(self.body(x)))


class FunctionalDropout(nn.Module):
    """Dropout as a function of the mode, and an addition in place."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(c, c), nn.Conv2d(c, c, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out = F.dropout(self.body(x), 0.5, training=self.training)
        out += x
        return F.relu(out)


class WrittenDropPath(nn.Module):
    """Drop path written out; nothing of it is there in evaluation mode."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(c, c), conv(c, c))

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        if self.training:
            mask = out.new_empty(out.shape[0], 1, 1, 1).bernoulli_(0.5)
            out = out.div(0.5) * mask
        return x + out


class Widening(nn.Module):
    """A shortcut with a layer of its own, on the left of the add; the branch has more layers."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.short = nn.Conv2d(c_in, c_out, 1, 2)
        self.conv1 = conv(c_in, c_out, 2)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.short(x) + self.conv2(self.conv1(x))


class DependsOnValues(nn.Module):
    """Control flow on what comes in: no graph says it."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(c, c), conv(c, c))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] > 1_000:
            x = F.avg_pool2d(x, 2)
        return x + self.body(x)


class Network(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = conv(3, 16, 2)
        self.stages = nn.Sequential(
            nn.Sequential(Residual(16), FunctionalDropout(16)),
            nn.Sequential(Widening(16, 32), WrittenDropPath(32), DependsOnValues(32)),
        )
        self.head = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


def network(num_classes: int = 10) -> Network:
    return Network(num_classes)
