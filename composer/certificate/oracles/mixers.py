"""Token mixers in place of attention: pools, gates, filters; and branch scaling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PoolFormer(nn.Module):
    """arXiv:2111.11418, equation 4: the mean of the surrounding pixels minus the pixel itself."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.kernel = kernel
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the difference to the mean of the neighbours."""
        size, half = self.kernel, self.kernel // 2
        sums = functional.avg_pool2d(functional.pad(x, [half] * 4), size, 1) * size**2
        ones = functional.pad(torch.ones_like(x), [half] * 4)
        mean = sums / (functional.avg_pool2d(ones, size, 1) * size**2)
        self.seen = {"mean": mean}
        return mean - x


class LayerScale(nn.Module):
    """arXiv:2103.17239, equation 4: a diagonal matrix on the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.diagonal = nn.Parameter(torch.empty(channels))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return each channel scaled."""
        return torch.einsum("bchw,cd->bdhw", x, torch.diag(self.diagonal))


class FocalModulation(nn.Module):
    """arXiv:2203.11926, equations 3 to 6: gated contexts of growing fields, a modulator."""

    def __init__(self, channels: int, levels: int = 2, window: int = 3) -> None:
        super().__init__()
        self.channels, self.levels = channels, levels
        self.project = nn.Conv2d(channels, 2 * channels + levels + 1, 1)
        self.contexts = nn.ModuleList(
            nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels, bias=False)
            for k in range(window, window + 2 * levels, 2)
        )
        self.h = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the query, modulated by its surroundings."""
        projected, c = self.project(x), self.channels
        query, context, gates = projected[:, :c], projected[:, c : 2 * c], projected[:, 2 * c :]
        gathered = torch.zeros_like(query)
        for level, layer in enumerate(self.contexts):
            context = functional.gelu(layer(context))
            gathered = gathered + context * gates[:, level, None]
        whole = functional.gelu(context.mean((2, 3), keepdim=True))
        gathered = gathered + whole * gates[:, self.levels, None]
        modulator = self.h(gathered)
        self.seen = {"gather": gathered, "mix": modulator}
        out: Tensor = self.out(query * modulator)
        return out


class GMLP(nn.Module):
    """arXiv:2105.08050, equations 1 to 4: half the channels gate the others, mixed over tokens."""

    def __init__(self, channels: int, tokens: int, expansion: int = 6) -> None:
        super().__init__()
        hidden = expansion * channels
        self.u = nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden // 2)
        self.weight = nn.Parameter(torch.empty(tokens, tokens))
        self.bias = nn.Parameter(torch.empty(tokens))
        self.v = nn.Linear(hidden // 2, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens, each gated by all."""
        z = functional.gelu(self.u(x))
        half = z.shape[-1] // 2
        kept, gate = z[..., :half], self.norm(z[..., half:])
        mixed = torch.einsum("mn,bnc->bmc", self.weight, gate) + self.bias[:, None]
        self.seen = {"gated": kept * mixed}
        out: Tensor = self.v(kept * mixed)
        return out


class AFT(nn.Module):
    """arXiv:2105.14103, equation 2: exp(K + w) weights the values of all tokens."""

    def __init__(self, channels: int, tokens: int, rank: int = 128) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.u = nn.Parameter(torch.empty(tokens, rank))
        self.w = nn.Parameter(torch.empty(tokens, rank))
        self.out = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum over all tokens for each token, channel by channel."""
        q, k, v = self.qkv(x).chunk(3, -1)
        position = self.u @ self.w.T
        logits = k[:, None] + position[..., None]  # [b, token, other, channel]
        weights = torch.exp(logits - logits.amax(2, keepdim=True))
        mean = (weights * v[:, None]).sum(2) / weights.sum(2)
        mixed = torch.sigmoid(q) * mean
        self.seen = {"mean": mean, "attend": mixed}
        out: Tensor = self.out(mixed)
        return out


class GlobalFilter(nn.Module):
    """arXiv:2107.00645, equations 3 to 5: a learned filter on the Fourier transform of the map."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.empty(size[0], size[1] // 2 + 1, channels, 2))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the map, filtered."""
        spectrum = torch.fft.rfft2(x, norm="ortho")
        filtered = spectrum * torch.view_as_complex(self.filter).permute(2, 0, 1)
        out: Tensor = torch.fft.irfft2(filtered, s=x.shape[2:], norm="ortho")
        return out
