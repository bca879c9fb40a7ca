"""Self-attention by its formula: on tokens, on a map with relative position, the layer of ViT."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MHSA(nn.Module):
    """Queries, keys and values by one layer, heads side by side, and a layer behind them."""

    def __init__(self, channels: int, heads: int = 8, width: int | None = None) -> None:
        super().__init__()
        width = width or channels
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * width)
        self.proj = nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each token over all."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        shares = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        out: Tensor = self.proj((shares @ v).transpose(1, 2).reshape(b, n, -1))
        return out


class SA(MHSA):
    """The same with one head of its own width."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__(channels, 1, width)


class TransformerLayer(nn.Module):
    """The norm before each part, the sum behind it."""

    def __init__(self, channels: int, heads: int = 8, expansion: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attend = MHSA(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels),
            nn.GELU(),
            nn.Linear(expansion * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after both parts."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Relative(nn.Module):
    """The logits of the position: how far right and how far down one pixel is of another."""

    def __init__(self, size: tuple[int, int], depth: int) -> None:
        super().__init__()
        self.height = nn.Parameter(depth**-0.5 * torch.randn(2 * size[0] - 1, depth))
        self.width = nn.Parameter(depth**-0.5 * torch.randn(2 * size[1] - 1, depth))

    def forward(self, q: Tensor) -> Tensor:
        """Return [.., h·w, h·w] of queries [.., h, w, d]."""
        n, h, w, _ = q.shape
        across = self.absolute(q @ self.width.T)  # [n, h, w, w']
        down = self.absolute(q.transpose(1, 2) @ self.height.T)  # [n, w, h, h']
        both = across[:, :, :, None, :] + down.transpose(1, 2)[:, :, :, :, None]
        return both.reshape(n, h * w, h * w)

    @staticmethod
    def absolute(logits: Tensor) -> Tensor:
        """Return by place [.., l, l] what is by distance [.., l, 2l - 1]: each row one further."""
        n, m, length, _ = logits.shape
        flat = functional.pad(functional.pad(logits, (0, 1)).flatten(2), (0, length - 1))
        return flat.view(n, m, length + 1, 2 * length - 1)[:, :, :length, length - 1 :]


class BotMHSA(nn.Module):
    """All pixels attend to all, with relative position."""

    def __init__(self, channels: int, size: tuple[int, int], heads: int = 4) -> None:
        super().__init__()
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.position = Relative(size, channels // heads)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attention output of each pixel over all."""
        b, c, h, w = x.shape
        q, k, v = (
            part.reshape(b * self.heads, -1, h * w).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=1)
        )
        q = q * self.scale
        logits = q @ k.transpose(1, 2) + self.position(q.reshape(b * self.heads, h, w, -1))
        return (logits.softmax(dim=-1) @ v).transpose(1, 2).reshape(b, c, h, w)
