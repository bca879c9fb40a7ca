"""Attention with heads: in windows, across channels, in linear time, with relative positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SwinWindow(nn.Module):
    """arXiv:2103.14030, equation 4 and section 3.2: attention in windows moved by `shift`.

    In a shifted window, tokens from opposite ends of the map do not attend to each other: here
    every token carries its original position, and only near ones attend to each other.
    """

    def __init__(self, channels: int, window: int = 7, shift: int = 0, heads: int = 0) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.heads = heads or channels // 32
        self.qkv = nn.Linear(channels, 3 * channels)
        self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, self.heads))
        self.proj = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each position over its window."""
        rows, columns = x.shape[2:]
        side = self.window
        x = functional.pad(x, (0, -columns % side, 0, -rows % side))
        height, width = x.shape[2:]
        out = torch.zeros_like(x)
        for top in range(0, height, side):
            for left in range(0, width, side):
                down = [(top + y + self.shift) % height for y in range(side)]
                across = [(left + z + self.shift) % width for z in range(side)]
                places = [(y, z) for y in down for z in across]
                tokens = torch.stack([x[:, :, y, z] for y, z in places], 1)
                for token, (y, z) in zip(
                    self.attend(tokens, places).unbind(1), places, strict=True
                ):
                    out[:, :, y, z] = token
        return out[:, :, :rows, :columns]

    def attend(self, tokens: Tensor, places: list[tuple[int, int]]) -> Tensor:
        """Return the attention output of the tokens of one window."""
        side = self.window
        inside = [(i // side, i % side) for i in range(side * side)]
        entry = [
            [(a - y + side - 1) * (2 * side - 1) + b - z + side - 1 for y, z in inside]
            for a, b in inside
        ]
        bias = self.table[torch.tensor(entry, device=tokens.device)]  # [query, key, head]
        apart = [[abs(a - y) >= side or abs(b - z) >= side for y, z in places] for a, b in places]
        hidden = torch.tensor(apart, device=tokens.device)
        outs = []
        q, k, v = (part.chunk(self.heads, -1) for part in self.qkv(tokens).chunk(3, -1))
        for index, (query, key, value) in enumerate(zip(q, k, v, strict=True)):
            logits = query @ key.mT / math.sqrt(query.shape[-1]) + bias[..., index]
            outs.append(logits.masked_fill(hidden, -math.inf).softmax(-1) @ value)
        out: Tensor = self.proj(torch.cat(outs, -1))
        return out


class XCA(nn.Module):
    """arXiv:2106.09681, equation 2: channels attend to channels, normalised over tokens."""

    def __init__(self, channels: int, heads: int = 8, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads))
        self.qkv = nn.Linear(channels, 3 * channels, bias=bias)
        self.proj = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens, with the channels of each head mixed."""
        outs = []
        q, k, v = (part.chunk(self.heads, -1) for part in self.qkv(x).chunk(3, -1))
        for head, factor in zip(zip(q, k, v, strict=True), self.temperature, strict=True):
            query, key = (part / part.norm(dim=1, keepdim=True) for part in head[:2])
            covariance = torch.einsum("bnd,bne->bde", query, key) * factor
            outs.append(torch.einsum("bde,bne->bnd", covariance.softmax(-1), head[2]))
        joined = torch.cat(outs, -1)
        self.seen = {"join": joined}
        out: Tensor = self.proj(joined)
        return out


class SeparableAttention(nn.Module):
    """arXiv:2206.02680, equation 3: one latent query scores the tokens of the context."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_score = nn.Linear(channels, 1)
        self.to_key = nn.Linear(channels, channels)
        self.to_value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return each token's value, scaled by the context."""
        scores = self.to_score(x).softmax(1)
        context = (scores * self.to_key(x)).sum(1, keepdim=True)
        mixed = functional.relu(self.to_value(x)) * context
        self.seen = {"scores": scores, "context": context, "attend": mixed}
        out: Tensor = self.out(mixed)
        return out


class LinearAttention(nn.Module):
    """arXiv:2006.16236, equation 4 with the feature map of equation 7, written out."""

    def __init__(self, channels: int, heads: int = 8, eps: float = 1e-6) -> None:
        super().__init__()
        self.heads, self.eps = heads, eps
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each token over all."""
        outs = []
        q, k, v = (part.chunk(self.heads, -1) for part in self.qkv(x).chunk(3, -1))
        for query, key, value in zip(q, k, v, strict=True):
            similar = self.feature(query) @ self.feature(key).mT
            outs.append(similar @ value / (similar.sum(-1, keepdim=True) + self.eps))
        joined = torch.cat(outs, -1)
        self.seen = {"join": joined}
        out: Tensor = self.out(joined)
        return out

    @staticmethod
    def feature(x: Tensor) -> Tensor:
        """Return elu(x) + 1: x + 1 above zero, eˣ below."""
        return torch.where(x > 0, x + 1, torch.exp(x.clamp(max=0)))


class TalkingHeads(nn.Module):
    """arXiv:2003.02436, section 4: the heads' logits are mixed, and their weights again."""

    def __init__(self, channels: int, heads: int = 8, bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.logits = nn.Linear(heads, heads, bias=bias)
        self.weights = nn.Linear(heads, heads, bias=bias)
        self.out = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each token over all."""
        q, k, v = (part.chunk(self.heads, -1) for part in self.qkv(x).chunk(3, -1))
        depth = q[0].shape[-1]
        logits = torch.stack([a @ b.mT / math.sqrt(depth) for a, b in zip(q, k, strict=True)], -1)
        weights = self.logits(logits).softmax(2)  # [b, query, key, head]
        mixed = self.weights(weights).unbind(-1)
        joined = torch.cat([a @ value for a, value in zip(mixed, v, strict=True)], -1)
        self.seen = {"join": joined}
        out: Tensor = self.out(joined)
        return out


class CoatNetAttention(nn.Module):
    """arXiv:2106.04803, equation 3: a weight for each offset, added to the logits of each head."""

    def __init__(self, channels: int, size: tuple[int, int], heads: int = 0) -> None:
        super().__init__()
        self.heads = heads or channels // 32
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.table = nn.Parameter(torch.empty(self.heads, 2 * size[0] - 1, 2 * size[1] - 1))
        self.proj = nn.Conv2d(channels, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each position over all."""
        rows, columns = x.shape[2:]
        down = torch.arange(rows)[None, :] - torch.arange(rows)[:, None] + rows - 1
        across = torch.arange(columns)[None, :] - torch.arange(columns)[:, None] + columns - 1
        outs = []
        q, k, v = (part.chunk(self.heads, 1) for part in self.qkv(x).chunk(3, 1))
        for head in zip(q, k, v, self.table, strict=True):
            query, key, value = (part.flatten(2) for part in head[:3])
            bias = head[3][down[:, None, :, None], across[None, :, None, :]]
            logits = query.mT @ key / math.sqrt(query.shape[1])
            logits = logits + bias.reshape(rows * columns, rows * columns)
            outs.append((value @ logits.softmax(-1).mT).unflatten(2, (rows, columns)))
        joined = torch.cat(outs, 1)
        self.seen = {"join": joined}
        out: Tensor = self.proj(joined)
        return out


class AxialHeight(nn.Module):
    """arXiv:2003.07853, equation 4, along the height, and the norms of the authors' code.

    q k, q r and k r each have a norm, and so do the sum of the values and that of the positions.
    """

    def __init__(self, channels: int, out: int, height: int, heads: int = 8) -> None:
        super().__init__()
        self.heads, self.depth = heads, out // heads
        self.qkv = nn.Conv1d(channels, 2 * out, 1, bias=False)
        self.bn_qkv = nn.BatchNorm1d(2 * out)
        self.relative = nn.Parameter(torch.empty(2 * self.depth, 2 * height - 1))
        self.bn_similarity = nn.BatchNorm2d(3 * heads)
        self.bn_output = nn.BatchNorm1d(2 * out)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each position over its column."""
        batch, _, height, width = x.shape
        columns = x.permute(0, 3, 1, 2).flatten(0, 1)
        sizes = [self.depth // 2, self.depth // 2, self.depth]
        projected: Tensor = self.bn_qkv(self.qkv(columns)).unflatten(1, (self.heads, -1))
        q, k, v = torch.split(projected, sizes, 2)
        places = torch.arange(height)
        relative = self.relative[:, places - places[:, None] + height - 1]
        rq, rk, rv = torch.split(relative, sizes)
        terms = [
            torch.einsum("bgco,bgcp->bgop", q, k),
            torch.einsum("bgco,cop->bgop", q, rq),
            torch.einsum("bgcp,cop->bgop", k, rk),
        ]
        logits = self.bn_similarity(torch.cat(terms, 1)).unflatten(1, (3, -1)).sum(1)
        weights = logits.softmax(-1)
        content = torch.einsum("bgop,bgcp->bgco", weights, v)
        where = torch.einsum("bgop,cop->bgco", weights, rv)
        both = torch.stack([content, where], 3).flatten(1, 3)
        summed: Tensor = self.bn_output(both).unflatten(1, (-1, 2)).sum(2)
        return summed.reshape(batch, width, -1, height).permute(0, 2, 3, 1)


class Axial(nn.Module):
    """arXiv:2003.07853, figure 2: along the height, then along the width; a pool for a stride."""

    def __init__(self, conv: nn.Conv2d, size: tuple[int, int], heads: int = 8) -> None:
        super().__init__()
        out, self.stride = conv.out_channels, conv.stride[0]
        self.height = AxialHeight(conv.in_channels, out, size[0], heads)
        self.width = AxialHeight(out, out, size[1], heads)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output over the column, then over the row."""
        mixed: Tensor = self.width(self.height(x).mT).mT
        return functional.avg_pool2d(mixed, self.stride, ceil_mode=True)
