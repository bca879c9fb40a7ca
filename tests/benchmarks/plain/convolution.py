"""Stand-ins for convolutions: SK, split attention, CondConv, dynamic convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SK(nn.Module):
    """Two receptive fields, chosen for each channel by a softmax over the branches."""

    def __init__(self, conv: nn.Conv2d, branches: int = 2, reduction: int = 16) -> None:
        super().__init__()
        self.branches, out = branches, conv.out_channels
        hidden = max(out // reduction, 32)
        self.convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(
                    conv.in_channels,
                    out,
                    3,
                    padding=wide,
                    dilation=wide,
                    groups=conv.groups,
                    bias=False,
                ),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            )
            for wide in range(1, branches + 1)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Conv2d(out, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        )
        self.select = nn.Conv2d(hidden, branches * out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the branches, with weights per channel."""
        maps = torch.stack([conv(x) for conv in self.convs], dim=1)
        logits = self.select(self.fc(self.pool(maps.sum(dim=1))))
        shares = logits.view(len(x), self.branches, -1, 1, 1).softmax(dim=1)
        return (maps * shares).sum(dim=1)


class SplitAttention(nn.Module):
    """A grouped convolution to several splits, weighed among one another."""

    def __init__(self, conv: nn.Conv2d, radix: int = 2, reduction: int = 4) -> None:
        super().__init__()
        c, self.out, self.radix = conv.in_channels, conv.out_channels, radix
        hidden = max(c * radix // reduction, 32)
        self.conv = nn.Conv2d(c, radix * self.out, 3, padding=1, groups=radix, bias=False)
        self.bn0 = nn.BatchNorm2d(radix * self.out)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(self.out, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, radix * self.out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the splits, each channel weighed among them."""
        splits = torch.split(self.relu(self.bn0(self.conv(x))), self.out, dim=1)
        pooled = functional.adaptive_avg_pool2d(sum(splits), 1)
        logits = self.fc2(self.relu(self.bn1(self.fc1(pooled))))
        shares = logits.view(len(x), self.radix, -1).softmax(dim=1).view(len(x), -1, 1, 1)
        gates = torch.split(shares, self.out, dim=1)
        out: Tensor = sum(gate * split for gate, split in zip(gates, splits, strict=True))
        return out.contiguous()


class Mixed(nn.Module):
    """Kernels mixed for each sample, and the batch as groups of one convolution."""

    def __init__(self, conv: nn.Conv2d, experts: int) -> None:
        super().__init__()
        self.shape, self.padding = conv.weight.shape, conv.padding
        kernels = [nn.init.kaiming_uniform_(torch.empty(self.shape), 5**0.5).flatten()
                   for _ in range(experts)]  # fmt: skip
        self.kernels = nn.Parameter(torch.stack(kernels))

    def convolve(self, x: Tensor, shares: Tensor) -> Tensor:
        """Return what each sample's own kernel gives."""
        b, c, h, w = x.shape
        mixed = (shares @ self.kernels).view(b * self.shape[0], *self.shape[1:])
        out = functional.conv2d(x.reshape(1, b * c, h, w), mixed, padding=self.padding, groups=b)
        return out.view(b, self.shape[0], *out.shape[2:])


class CondConv(Mixed):
    """The share of an expert is a sigmoid of its own."""

    def __init__(self, conv: nn.Conv2d, experts: int = 8) -> None:
        super().__init__(conv, experts)
        self.router = nn.Linear(conv.in_channels, experts)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of each sample."""
        pooled = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.convolve(x, torch.sigmoid(self.router(pooled)))


class DynamicConv(Mixed):
    """SE's two layers, and a softmax over the experts with a temperature."""

    temperature: Tensor

    def __init__(self, conv: nn.Conv2d, experts: int = 4, reduction: int = 4) -> None:
        super().__init__(conv, experts)
        self.register_buffer("temperature", torch.tensor(30.0))
        self.register_buffer("epoch", torch.tensor(0))
        self.fc1 = nn.Conv2d(conv.in_channels, conv.in_channels // reduction, 1)
        self.fc2 = nn.Conv2d(conv.in_channels // reduction, experts, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of each sample."""
        pooled = functional.adaptive_avg_pool2d(x, 1)
        logits = self.fc2(functional.relu(self.fc1(pooled))).flatten(1)
        return self.convolve(x, functional.softmax(logits / self.temperature, dim=1))
