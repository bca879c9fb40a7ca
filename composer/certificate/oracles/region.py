"""Gather-Excite: pool each region, then gate its pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def spread(small: Tensor, like: Tensor) -> Tensor:
    """Return a small map upsampled to the size of another, by nearest neighbour."""
    (h, w), (rows, columns) = small.shape[2:], like.shape[2:]
    above = torch.tensor([y * h // rows for y in range(rows)])
    left = torch.tensor([x * w // columns for x in range(columns)])
    return small[:, :, above][:, :, :, left]


class GEThetaMinus(nn.Module):
    """arXiv:1810.12348, section 3.1: the mean of each region, or of the whole map at extent 0."""

    def __init__(self, extent: int = 0) -> None:
        super().__init__()
        self.extent = extent
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each pixel scaled."""
        gathered = self.gather(x) if self.extent else x.mean(dim=(2, 3), keepdim=True)
        gate = torch.sigmoid(spread(gathered, x))
        self.seen = {"near" if self.extent else "all": gathered}
        return x * gate

    def gather(self, x: Tensor) -> Tensor:
        """Return the mean over windows of 2e - 1 at every e-th pixel, ignoring padding."""
        e, (rows, columns) = self.extent, x.shape[2:]

        def window(at: int, size: int) -> slice:
            return slice(max(0, at - e + 1), min(size, at + e))

        means = [
            [
                x[:, :, window(y, rows), window(left, columns)].mean(dim=(2, 3))
                for left in range(0, columns, e)
            ]
            for y in range(0, rows, e)
        ]
        return torch.stack([torch.stack(row, -1) for row in means], -2)


class GETheta(nn.Module):
    """The same, section 3.2: depthwise 3x3 with stride 2, each halving the map; or one global one.

    Every convolution has no bias and is followed by a norm; between two of them is a ReLU.
    """

    def __init__(self, channels: int, extent: int = 0, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.extent = extent
        self.gathered = f"near.{int(math.log2(extent)) - 1}" if extent else "all"
        if extent:
            shape, stride, padding, times = (3, 3), 2, 1, int(math.log2(extent))
        else:
            assert size is not None
            shape, stride, padding, times = size, 1, 0, 1
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, shape, stride, padding, groups=channels, bias=False)
            for _ in range(times)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(times))
        self.seen: dict[str, Tensor] = {}

    def gather(self, x: Tensor) -> Tensor:
        """Return the small map."""
        layers = list(zip(self.convs, self.norms, strict=True))
        for number, (conv, norm) in enumerate(layers, start=1):
            x = norm(conv(x))
            x = functional.relu(x) if number < len(layers) else x
        self.seen = {self.gathered: x}
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each pixel scaled."""
        return x * torch.sigmoid(spread(self.gather(x), x))


class GEThetaPlus(GETheta):
    """The same, section 3.3: SE's two layers on the gathered values.

    The authors' code has a ReLU before them in the global form.
    """

    def __init__(
        self,
        channels: int,
        extent: int = 0,
        size: tuple[int, int] | None = None,
        reduction: int = 16,
    ) -> None:
        super().__init__(channels, extent, size)
        self.w1 = nn.Conv2d(channels, channels // reduction, 1)
        self.w2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each pixel scaled."""
        gathered = self.gather(x)
        if not self.extent:
            gathered = functional.relu(gathered)
            self.seen[self.gathered] = gathered
        logits = self.w2(functional.relu(self.w1(gathered)))
        self.seen["excite"] = logits
        return x * torch.sigmoid(spread(logits, x))
