"""Kernels: large ones, several sizes, one per sample; and the norm of ConvNeXt V2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LKA(nn.Module):
    """arXiv:2202.09741, equations 1 and 2: x weighted by a large kernel, decomposed into three.

    A K×K kernel is a depthwise one of 2d - 1, a depthwise one of ⌈K / d⌉ with dilation d, and 1×1.
    """

    def __init__(self, channels: int, kernel: int = 21, dilation: int = 3) -> None:
        super().__init__()
        near, far = 2 * dilation - 1, math.ceil(kernel / dilation)
        self.dw = nn.Conv2d(channels, channels, near, padding=near // 2, groups=channels)
        self.dwd = nn.Conv2d(
            channels, channels, far, padding=dilation * (far // 2), groups=channels,
            dilation=dilation,
        )  # fmt: skip
        self.pw = nn.Conv2d(channels, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, weighted."""
        local = self.dw(x)
        distant = self.dwd(local)
        attention = self.pw(distant)
        self.seen = {"local": local, "long_range": distant, "attention": attention}
        out: Tensor = x * attention
        return out


class LSK(nn.Module):
    """arXiv:2303.09030: each position chooses between two large kernels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.dw5 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.dw7 = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.f1, self.f2 = nn.Conv2d(channels, half, 1), nn.Conv2d(channels, half, 1)
        self.masks = nn.Conv2d(2, 2, 7, padding=3)
        self.f = nn.Conv2d(half, channels, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x, weighted by the output of the kernels."""
        first = self.dw5(x)
        second = self.dw7(first)
        first, second = self.f1(first), self.f2(second)
        whole = torch.cat([first, second], 1)
        maps = torch.stack([whole.mean(1), whole.max(1).values], 1)
        masks = torch.sigmoid(self.masks(maps))
        chosen = first * masks[:, :1] + second * masks[:, 1:]
        self.seen = {"maps": maps, "masks": masks, "select": chosen}
        out: Tensor = x * self.f(chosen)
        return out


class GRN(nn.Module):
    """arXiv:2301.00808, algorithm 1: each channel scaled by its norm relative to the mean norm."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.empty(channels)) for _ in range(2))
        self.eps = eps
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x and its calibrated form."""
        length = torch.sqrt((x * x).sum(dim=(2, 3)))
        share = length / (length.mean(dim=1, keepdim=True) + self.eps)
        self.seen = {"response": length, "importance": share}
        calibrated = self.gamma[:, None, None] * (x * share[:, :, None, None])
        return calibrated + self.beta[:, None, None] + x


class MixConv(nn.Module):
    """arXiv:1907.09595, equation 2: depthwise, each quarter of the channels with its own kernel.

    The remainder of the division by four goes to the smallest kernel.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        quarter, wide = conv.in_channels // 4, conv.out_channels // 4
        self.takes = [conv.in_channels - 3 * quarter, quarter, quarter, quarter]
        gives = [conv.out_channels - 3 * wide, wide, wide, wide]
        self.convs = nn.ModuleList(
            nn.Conv2d(
                take, give, kernel, conv.stride[0], conv.dilation[0] * (kernel // 2),
                conv.dilation[0], take, conv.bias is not None,
            )
            for take, give, kernel in zip(self.takes, gives, (3, 5, 7, 9), strict=True)
        )  # fmt: skip
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels, each convolved by its kernel."""
        pieces = torch.split(x, self.takes, 1)
        parts = [c(p) for c, p in zip(self.convs, pieces, strict=True)]
        self.seen = {f"conv{2 * k + 3}": part for k, part in enumerate(parts)}
        return torch.cat(parts, 1)


class EPSA(nn.Module):
    """arXiv:2105.14447: a pyramid of kernels, weighted by a shared SE."""

    def __init__(self, conv: nn.Conv2d, branches: int = 4, reduction: int = 16) -> None:
        super().__init__()
        width = conv.out_channels // branches
        self.pyramid = nn.ModuleList()
        for kernel in range(3, 3 + 2 * branches, 2):
            groups = 1 if kernel == 3 else 2 ** ((kernel - 1) // 2)
            padding = conv.dilation[0] * (kernel // 2)
            self.pyramid.append(
                nn.Conv2d(
                    conv.in_channels, width, kernel, conv.stride[0], padding, conv.dilation[0],
                    groups, bias=False,
                )
            )  # fmt: skip
        self.w0 = nn.Conv2d(width, width // reduction, 1)
        self.w1 = nn.Conv2d(width // reduction, width, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the concatenated branches, weighted per channel."""
        maps = [conv(x) for conv in self.pyramid]
        weights = [torch.sigmoid(self._excite(m)) for m in maps]
        raised = [torch.exp(weight) for weight in weights]
        whole = sum(raised[1:], raised[0])
        shares = [part / whole for part in raised]
        self.seen = {"weights": torch.stack(weights, 1), "select": torch.stack(shares, 1)}
        return torch.cat([m * s for m, s in zip(maps, shares, strict=True)], 1)

    def _excite(self, x: Tensor) -> Tensor:
        out: Tensor = self.w1(functional.relu(self.w0(functional.adaptive_avg_pool2d(x, 1))))
        return out


class ODConv(nn.Module):
    """arXiv:2209.07947, equation 2: four gates on a kernel, one along each of its dimensions.

    The gates follow the authors' code: the experts share all gates but one, a depthwise
    convolution has no filter gate, and a 1×1 convolution has no spatial gate.
    """

    temperature: Tensor

    def __init__(
        self,
        conv: nn.Conv2d,
        experts: int = 4,
        reduction: int = 16,
        least: int = 16,
        temperature: float = 30,
    ) -> None:
        super().__init__()
        width, out, side = conv.in_channels, conv.out_channels, conv.kernel_size[0]
        hidden = max(width // reduction, least)
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("epoch", torch.tensor(0))
        self.fc, self.bn = nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden)
        self.channel = nn.Linear(hidden, width)
        self.filter = None if conv.groups == width == out else nn.Linear(hidden, out)
        self.place = None if side == 1 else nn.Linear(hidden, side * side)
        self.expert = None if experts == 1 else nn.Linear(hidden, experts)
        self.kernels = nn.Parameter(torch.empty(experts, *conv.weight.shape))
        self.how = conv.stride, conv.padding, conv.dilation, conv.groups
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of each sample."""
        z = functional.relu(self.bn(self.fc(x.mean(dim=(2, 3)))))
        self.seen = {"z": z}
        kernels = [self._kernel(row) for row in z]
        return torch.cat([self._one(x[i : i + 1], kernel) for i, kernel in enumerate(kernels)])

    def _kernel(self, z: Tensor) -> Tensor:
        """Return the kernel of one sample."""
        out, of_group, side, _ = self.kernels.shape[1:]
        groups = self.how[3]
        channel = torch.sigmoid(self.channel(z) / self.temperature).view(groups, 1, of_group, 1, 1)
        kernels = self.kernels.view(-1, groups, out // groups, of_group, side, side) * channel
        kernels = kernels.view_as(self.kernels)
        if self.filter is not None:
            kernels = kernels * torch.sigmoid(self.filter(z) / self.temperature).view(out, 1, 1, 1)
        if self.place is not None:
            places = torch.sigmoid(self.place(z) / self.temperature)
            kernels = kernels * places.view(side, side)
        if self.expert is None:
            return kernels[0]
        raised = torch.exp(self.expert(z) / self.temperature)
        mixed: Tensor = torch.tensordot(raised / raised.sum(), kernels, 1)
        return mixed

    def _one(self, x: Tensor, kernel: Tensor) -> Tensor:
        stride, padding, dilation, groups = self.how
        return functional.conv2d(x, kernel, None, stride, padding, dilation, groups)
