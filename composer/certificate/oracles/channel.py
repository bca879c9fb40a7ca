"""One gate for each channel: SE, its variants, eSE, ECA."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class SE(nn.Module):
    """arXiv:1709.01507: s = sigmoid(W2 relu(W1 z)), z the mean of each channel; x scaled by s."""

    def __init__(
        self, channels: int, reduction: int = 16, bias: bool = True, least: int = 0
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, least)
        self.w1 = nn.Linear(channels, hidden, bias=bias)
        self.w2 = nn.Linear(hidden, channels, bias=bias)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z = x.mean(dim=(2, 3))
        logits = self.w2(torch.clamp(self.w1(z), min=0))
        s = torch.sigmoid(logits)
        self.seen = {"squeeze": z, "excite": logits, "gate": s}
        return torch.einsum("bchw,bc->bchw", x, s)


class SEVar1(nn.Module):
    """arXiv:1910.03151, table 2: sigmoid(z), no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z = functional.adaptive_avg_pool2d(x, 1)
        s = torch.sigmoid(z)
        self.seen = {"squeeze": z, "gate": s}
        return x * s


class SEVar2(nn.Module):
    """The same: sigmoid(w * z), one weight a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(channels))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z = functional.adaptive_avg_pool2d(x, 1)
        s = torch.sigmoid(z * self.w[None, :, None, None])
        self.seen = {"squeeze": z, "gate": s}
        return x * s


class SEVar3(nn.Module):
    """The same: sigmoid(W z), a full matrix."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.eye(channels))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z = x.flatten(2).sum(2) / (x.shape[2] * x.shape[3])
        s = torch.sigmoid(z @ self.w.T)
        self.seen = {"squeeze": z, "gate": s}
        return x * s[:, :, None, None]


class ESE(nn.Module):
    """arXiv:1911.06667, the authors' code: a 1x1 convolution with bias, relu6(s + 3) / 6."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z = functional.adaptive_avg_pool2d(x, 1)
        logits = self.fc(z)
        s = torch.clamp(logits + 3, 0, 6) / 6
        self.seen = {"squeeze": z, "excite": logits, "gate": s}
        return x * s


def eca_kernel(channels: int, gamma: float = 2, beta: float = 1) -> int:
    """Return t = int(|(log2 c + beta) / gamma|), or one more where that is even."""
    t = int(abs((math.log2(channels) + beta) / gamma))
    return t if t % 2 else t + 1


class ECA(nn.Module):
    """arXiv:1910.03151: each gate sees its k neighbours; one filter, no bias, for all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(eca_kernel(channels)))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, each channel scaled."""
        z, half = x.mean(dim=(2, 3)), len(self.w) // 2
        padded = functional.pad(z, (half, half))
        near = [w * padded[:, i : i + z.shape[1]] for i, w in enumerate(self.w)]
        logits = torch.stack(near).sum(0)
        s = torch.sigmoid(logits)
        self.seen = {"squeeze": z, "interact": logits, "gate": s}
        return x * s[:, :, None, None]
