"""Attention between positions: non-local, DANet, A², external and criss-cross attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def pixels(x: Tensor) -> Tensor:
    """Return a map [b, c, h, w] as one row per position, [b, h * w, c]."""
    return x.flatten(2).transpose(1, 2)


def as_map(rows: Tensor, x: Tensor) -> Tensor:
    """Return channels by positions, [b, c, h * w], as a map with the height and width of x."""
    return rows.reshape(*rows.shape[:2], *x.shape[2:])


def share(logits: Tensor, dim: int) -> Tensor:
    """Return the softmax of the logits along an axis, written out."""
    raised = torch.exp(logits - logits.amax(dim, keepdim=True))
    return raised / raised.sum(dim, keepdim=True)


class NonLocal(nn.Module):
    """arXiv:1711.07971, equations 1 to 6: z = W_z y + x, where y_i = Σ_j f(x_i, x_j) g(x_j) / C.

    f is the exponential of the product of two embeddings, or the product itself, and C the sum of
    f, or the number of positions. A norm with initial weight 0 follows W_z, as in section 4.1.
    """

    def __init__(
        self, channels: int, width: int, scale: float | None = None, dot: bool = False
    ) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, width, 1) for _ in range(3))
        self.wz = nn.Conv2d(width, channels, 1)
        self.bn = nn.BatchNorm2d(channels)
        self.scale = 1 / math.sqrt(width) if scale is None else scale
        self.dot = dot
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the attention output of each position over all."""
        queries, keys, values = (pixels(layer(x)) for layer in (self.theta, self.phi, self.g))
        pairs = torch.einsum("bic,bjc->bij", queries, keys)
        weights = pairs / pairs.shape[2] if self.dot else share(self.scale * pairs, 2)
        y = as_map((weights @ values).transpose(1, 2), x)
        z = self.bn(self.wz(y))
        self.seen = {"theta": self.theta(x), "mean" if self.dot else "attend": y, "z": z}
        out: Tensor = z + x
        return out


class DANetPosition(nn.Module):
    """arXiv:1809.02983, equations 1 and 2: E_j = α Σ_i s_ji D_i + A_j, with α initialised to 0."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.b = nn.Conv2d(channels, channels // reduction, 1)
        self.c = nn.Conv2d(channels, channels // reduction, 1)
        self.d = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the attention output of each position over similar ones."""
        b, c, d = (layer(x).flatten(2) for layer in (self.b, self.c, self.d))
        s = share(torch.einsum("bcj,bci->bji", b, c), 2)
        mixed = as_map(torch.einsum("bji,bci->bcj", s, d), x)
        self.seen = {"attend": mixed}
        return self.alpha * mixed + x


class DANetChannel(nn.Module):
    """The same, equations 3 and 4, with the sign of the authors' code: the maximum minus each."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the attention output of each channel over dissimilar ones."""
        a = x.flatten(2)
        energy = a @ a.transpose(1, 2)
        weights = share(energy.max(-1, keepdim=True).values - energy, 2)
        mixed = (weights @ a).reshape(x.shape)
        self.seen = {"mixed": mixed}
        return self.beta * mixed + x


class DoubleAttention(nn.Module):
    """arXiv:1810.11579, section 3: φ(X) softmax(θ(X))ᵀ softmax(ρ(X)), projected and added."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        less = channels // reduction
        self.phi, self.theta, self.rho = (nn.Conv2d(channels, less, 1) for _ in range(3))
        self.expand = nn.Conv2d(less, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus, at each position, the global descriptors that it selects."""
        a, b, v = (layer(x).flatten(2) for layer in (self.phi, self.theta, self.rho))
        gathered = a @ share(b, 2).transpose(1, 2)
        z = gathered @ share(v, 1)
        self.seen = {"gathered": gathered, "chosen": z}
        out: Tensor = x + self.expand(as_map(z, x))
        return out


class ExternalAttention(nn.Module):
    """arXiv:2105.02358, section 3.2: keys and values are learned, the same for all images.

    The layers around them, the skip and the ReLU are those of the authors' code.
    """

    def __init__(self, channels: int, memory: int = 64) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.mk = nn.Parameter(torch.empty(memory, channels))
        self.mv = nn.Parameter(torch.empty(channels, memory))
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the ReLU of x plus the memory readout of each position."""
        logits = pixels(self.query(x)) @ self.mk.T
        places = share(logits, 1)
        rows = places / (places.sum(2, keepdim=True) + 1e-9)
        taken = as_map((rows @ self.mv.T).transpose(1, 2), x)
        self.seen = {"share": rows.transpose(1, 2), "value": taken}
        return functional.relu(self.bn(self.project(taken)) + x)


class CrissCross(nn.Module):
    """arXiv:1811.11721, equations 1 and 2: each position attends to its column and its row.

    The position itself counts once, in its row. The factor, initially 0, is from the authors' code.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.q = nn.Conv2d(channels, channels // reduction, 1)
        self.k = nn.Conv2d(channels, channels // reduction, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus the attention output of each position over its cross."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        rows, columns = x.shape[2:]
        mixed = torch.empty_like(v)
        for y in range(rows):
            others = [r for r in range(rows) if r != y]
            for z in range(columns):
                keys = torch.cat([k[:, :, others, z], k[:, :, y]], 2)
                values = torch.cat([v[:, :, others, z], v[:, :, y]], 2)
                weights = share(torch.einsum("bc,bcj->bj", q[:, :, y, z], keys), 1)
                mixed[:, :, y, z] = torch.einsum("bj,bcj->bc", weights, values)
        return self.gamma * mixed + x


class RCCA(nn.Module):
    """The same, section 3.3: the cross repeated with shared weights."""

    def __init__(self, channels: int, recurrence: int = 2, reduction: int = 8) -> None:
        super().__init__()
        self.cross = CrissCross(channels, reduction)
        self.recurrence = recurrence

    def forward(self, x: Tensor) -> Tensor:
        """Return x after the given number of crosses."""
        for _ in range(self.recurrence):
            x = self.cross(x)
        return x
