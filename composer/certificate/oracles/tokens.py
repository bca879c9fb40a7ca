"""Self-attention: on tokens, on a map with relative position, and the layer of ViT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend(q: Tensor, k: Tensor, v: Tensor, position: Tensor | None = None) -> Tensor:
    """Return softmax(Q Kᵀ / √d + position) V, arXiv:1706.03762, equation 1; all are [.., n, d]."""
    logits = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if position is not None:
        logits = logits + position
    raised = torch.exp(logits - logits.max(-1, keepdim=True).values)
    return raised / raised.sum(-1, keepdim=True) @ v


class SA(nn.Module):
    """arXiv:1706.03762, equation 1, on tokens [b, n, c], with layers before and after it."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * width)
        self.out = nn.Linear(width, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each token over all."""
        mixed = attend(*self.qkv(x).chunk(3, -1))
        self.seen = {"attend": mixed.transpose(1, 2)}
        out: Tensor = self.out(mixed)
        return out


class MHSA(nn.Module):
    """arXiv:1706.03762, section 3.2.2: parallel heads, concatenated, and an output layer."""

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each token over all."""
        q, k, v = (part.chunk(self.heads, -1) for part in self.qkv(x).chunk(3, -1))
        joined = torch.cat([attend(*head) for head in zip(q, k, v, strict=True)], -1)
        self.seen = {"join": joined}
        out: Tensor = self.out(joined)
        return out


class TransformerLayer(nn.Module):
    """arXiv:2010.11929, equations 2 and 3: the norm before each part, the sum after it."""

    def __init__(self, channels: int, heads: int = 8, expansion: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attend = MHSA(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, expansion * channels)
        self.fc2 = nn.Linear(expansion * channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after both parts."""
        middle = x + self.attend(self.norm1(x))
        hidden = self.fc1(self.norm2(middle))
        bent = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2  # the exact GELU
        self.seen = {"middle": middle}
        out: Tensor = middle + self.fc2(bent)
        return out


class BotMHSA(nn.Module):
    """arXiv:2101.11605, figure 4: all pixels attend to all; q (r_h + r_w) is added to the logits.

    The heads have no output layer. A stride moves to an average pool of that size afterwards, which
    ignores padding at the edge, so that the output has the size of the convolution's.
    """

    def __init__(
        self, conv: nn.Conv2d, size: tuple[int, int], heads: int = 4, scaled: bool = True
    ) -> None:
        super().__init__()
        out, self.heads, self.stride, self.scaled = conv.out_channels, heads, conv.stride[0], scaled
        depth = out // heads
        self.qkv = nn.Conv2d(conv.in_channels, 3 * out, 1, bias=False)
        self.height = nn.Parameter(torch.empty(2 * size[0] - 1, depth))
        self.width = nn.Parameter(torch.empty(2 * size[1] - 1, depth))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each pixel over all."""
        rows, columns = x.shape[2:]
        relative = self.relative(rows, columns)
        outs = []
        q, k, v = (part.chunk(self.heads, 1) for part in self.qkv(x).chunk(3, 1))
        for head in zip(q, k, v, strict=True):
            queries, keys, values = (part.flatten(2).transpose(1, 2) for part in head)
            position = torch.einsum("bid,ijd->bij", queries, relative)
            if self.scaled:
                position = position / math.sqrt(queries.shape[-1])
            mixed = attend(queries, keys, values, position)
            outs.append(mixed.transpose(1, 2).reshape(len(x), -1, rows, columns))
        joined = torch.cat(outs, 1)
        self.seen = {"join": joined}
        return functional.avg_pool2d(joined, self.stride, ceil_mode=True)

    def relative(self, rows: int, columns: int) -> Tensor:
        """Return r_h + r_w for each pair of pixels, by their vertical and horizontal distance."""
        pixels = [(y, x) for y in range(rows) for x in range(columns)]
        return torch.stack(
            [
                torch.stack(
                    [
                        self.height[below - y + rows - 1] + self.width[right - x + columns - 1]
                        for below, right in pixels
                    ]
                )
                for y, x in pixels
            ]
        )
