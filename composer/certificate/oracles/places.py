"""Position-aware gates: coordinate, triplet, strip pooling, GAM, ParNet, PSA, CSRA."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Coordinate(nn.Module):
    """arXiv:2103.02907, equations 4 to 9: rows and columns through one layer, a gate for each."""

    def __init__(
        self, channels: int, reduction: int = 32, least: int = 8, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, least)
        self.f1 = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.bn = nn.BatchNorm2d(hidden)
        self.fh = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.fw = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each position scaled by the gates of its row and its column."""
        height = x.shape[2]
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True)
        both = self.bn(self.f1(torch.cat([rows, columns.transpose(2, 3)], 2)))
        mixed = both * torch.clamp(both + 3, 0, 6) / 6
        row = torch.sigmoid(self.fh(mixed[:, :, :height]))
        column = torch.sigmoid(self.fw(mixed[:, :, height:])).transpose(2, 3)
        self.seen = {"rows": rows, "columns": columns, "row": row, "column": column}
        return x * row * column


class ZGate(nn.Module):
    """arXiv:2010.03045, the maximum and the mean of axis 1, a convolution, a norm."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Return x, scaled alike along axis 1."""
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.bn(self.conv(pooled)))


class Triplet(nn.Module):
    """arXiv:2010.03045, section 3: that gate on three rotations of x, and their mean."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.cw, self.hc, self.hw = ZGate(kernel), ZGate(kernel), ZGate(kernel)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the three."""
        by_height = self.cw(x.transpose(1, 2)).transpose(1, 2)
        by_width = self.hc(x.transpose(1, 3)).transpose(1, 3)
        by_channel = self.hw(x)
        self.seen = {"plane_cw": by_height, "plane_hc": by_width, "plane_hw.out": by_channel}
        out: Tensor = (by_height + by_width + by_channel) / 3
        return out


class StripPooling(nn.Module):
    """arXiv:2003.13328, section 3.1, with the norms and the ReLU of the authors' code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), bias=False)
        self.down_bn = nn.BatchNorm2d(channels)
        self.across = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), bias=False)
        self.across_bn = nn.BatchNorm2d(channels)
        self.scale = nn.Conv2d(channels, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each value scaled by its row and its column."""
        size = x.shape[2:]
        row = self.down_bn(self.down(functional.adaptive_avg_pool2d(x, (size[0], 1))))
        column = self.across_bn(self.across(functional.adaptive_avg_pool2d(x, (1, size[1]))))
        cross = row.expand(-1, -1, *size) + column.expand(-1, -1, *size)
        gate = torch.sigmoid(self.scale(functional.relu(cross)))
        self.seen = {"down": row, "across": column, "cross": cross, "gate": gate}
        return x * gate


class GAM(nn.Module):
    """arXiv:2112.05561, equations 1 and 2: an MLP at each position, then two large convolutions."""

    def __init__(self, channels: int, reduction: int = 4, kernel: int = 7) -> None:
        super().__init__()
        hidden = channels // reduction
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.conv1 = nn.Conv2d(channels, hidden, kernel, padding=kernel // 2)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, channels, kernel, padding=kernel // 2)
        self.bn2 = nn.BatchNorm2d(channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, scaled twice."""
        units = torch.sigmoid(self.mlp(x.movedim(1, -1)).movedim(-1, 1))
        x = x * units
        hidden = functional.relu(self.bn1(self.conv1(x)))
        gate = torch.sigmoid(self.bn2(self.conv2(hidden)))
        self.seen = {"units": units, "channel": x, "reduce": hidden, "gate": gate}
        return x * gate


class ParNet(nn.Module):
    """arXiv:2110.07641, figure 2: 3x3, 1x1 and a skip that is scaled by one layer, then SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the three branches, activated."""
        skip = self.bn(x)
        gate = torch.sigmoid(self.fc(functional.adaptive_avg_pool2d(skip, 1)))
        total = skip * gate + self.bn1(self.conv1(x)) + self.bn3(self.conv3(x))
        self.seen = {"skip": skip, "gate": gate, "sse": skip * gate, "sum": total}
        out: Tensor = total * torch.sigmoid(total)
        return out


def spread(logits: Tensor) -> Tensor:
    """Return a softmax over the positions of each map [batch, maps, positions]."""
    raised = torch.exp(logits - logits.amax(-1, keepdim=True))
    return raised / raised.sum(-1, keepdim=True)


class Polarised(nn.Module):
    """arXiv:2107.00782: the layers of both variants; the channel gate first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.q_right = nn.Conv2d(channels, 1, 1, bias=False)
        self.v_right = nn.Conv2d(channels, half, 1, bias=False)
        self.q_left = nn.Conv2d(channels, half, 1, bias=False)
        self.v_left = nn.Conv2d(channels, half, 1, bias=False)
        self.seen: dict[str, Tensor] = {}

    def context(self, x: Tensor) -> Tensor:
        """Return each hidden channel at the positions that the query selects, [b, c/2, 1]."""
        where = spread(self.q_right(x).flatten(2))
        context: Tensor = self.v_right(x).flatten(2) @ where.mT
        self.seen |= {"where": where, "context": context}
        return context


class PolarisedParallel(Polarised):
    """The two gates applied in parallel and added, as in the authors' code."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.up = nn.Linear(channels // 2, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of x scaled by channel and x scaled by position."""
        self.seen = {}
        channel = torch.sigmoid(self.up(self.context(x).flatten(1)))[:, :, None, None]
        mean = self.q_left(x).mean((2, 3))
        match = torch.einsum("bd,bdn->bn", mean, self.v_left(x).flatten(2))
        place = torch.sigmoid(spread(match[:, None])).reshape(len(x), 1, *x.shape[2:])
        self.seen |= {"mean": mean, "match": match, "a_ch": channel, "a_sp": place}
        return x * channel + x * place


class PolarisedSequential(Polarised):
    """The spatial gate after the channel gate, as in the authors' code."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        half, hidden = channels // 2, channels // 8
        self.up = nn.Sequential(
            nn.Conv2d(half, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x, scaled by channel and then by position."""
        self.seen = {}
        channel = torch.sigmoid(self.up(self.context(x)[..., None]))
        x = x * channel
        mean = self.q_left(x).mean((2, 3))
        places = spread(self.v_left(x).flatten(2))
        place = torch.sigmoid(mean[:, None] @ places).reshape(len(x), 1, *x.shape[2:])
        self.seen |= {"a_ch": channel, "z_ch": x, "mean": mean, "places": places, "a_sp": place}
        return x * place


class CSRA(nn.Module):
    """arXiv:2108.02456, section 3: the mean of a class's scores, and their softmax mean."""

    def __init__(
        self, channels: int, classes: int, strength: float = 0.1, temperature: float = 1
    ) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, classes, 1, bias=False)
        self.strength, self.temperature = strength, temperature

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of each class."""
        length = self.head.weight.square().sum(1).sqrt()[:, 0, 0]
        scores = self.head(x).flatten(2) / length[:, None]
        shares = spread(self.temperature * scores)
        out: Tensor = scores.mean(2) + self.strength * (shares * scores).sum(2)
        return out
