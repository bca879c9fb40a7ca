"""Stand-ins for convolutions: SK, split attention, CondConv, dynamic convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SK(nn.Module):
    """arXiv:1903.06586, equations 1 to 6: receptive fields, chosen for each channel.

    It takes the sizes of the convolution that it stands for.
    """

    def __init__(
        self, conv: nn.Conv2d, branches: int = 2, reduction: int = 16, least: int = 32
    ) -> None:
        super().__init__()
        out, kernel, wide = conv.out_channels, conv.kernel_size[0], conv.dilation[0]
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(
                    conv.in_channels,
                    out,
                    kernel,
                    conv.stride[0],
                    padding=wide * (branch + 1) * (kernel // 2),
                    dilation=wide * (branch + 1),
                    groups=conv.groups,
                    bias=False,
                ),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            )
            for branch in range(branches)
        )
        hidden = max(out // reduction, least)
        self.fc = nn.Conv2d(out, hidden, 1, bias=False)
        self.bn = nn.BatchNorm2d(hidden)
        self.select = nn.Parameter(torch.empty(branches, out, hidden))
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the branches, with weights per channel."""
        maps = [branch(x) for branch in self.branches]
        fused = sum(maps[1:], maps[0])
        z = functional.relu(self.bn(self.fc(functional.adaptive_avg_pool2d(fused, 1))))
        raised = [torch.exp(z.flatten(1) @ matrix.T) for matrix in self.select]
        whole = sum(raised[1:], raised[0])
        shares = [part / whole for part in raised]
        self.seen = {
            "split": torch.stack(maps, 1),
            "fuse": fused,
            "z": z,
            "select": torch.stack(shares, 1),
        }
        weighed = [m * s[:, :, None, None] for m, s in zip(maps, shares, strict=True)]
        return torch.stack(weighed).sum(0)


class SplitAttention(nn.Module):
    """arXiv:2004.08955, equations 1 to 3, with the floor and the biases of the authors' code.

    A stride moves to a 3x3 average pool afterwards, which includes its padding.
    """

    def __init__(
        self, conv: nn.Conv2d, radix: int = 2, reduction: int = 4, least: int = 32
    ) -> None:
        super().__init__()
        self.radix, self.cardinality, self.stride = radix, conv.groups, conv.stride[0]
        width, out, kernel = conv.in_channels, conv.out_channels, conv.kernel_size[0]
        hidden = max(width * radix // reduction, least)
        self.dilation, self.padding = conv.dilation[0], conv.dilation[0] * (kernel // 2)
        self.conv = nn.Parameter(
            torch.empty(radix * out, width // (radix * conv.groups), kernel, kernel)
        )
        self.bn0 = nn.BatchNorm2d(radix * out)
        self.fc1 = nn.Conv2d(out, hidden, 1, groups=conv.groups)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, radix * out, 1, groups=conv.groups)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the splits of each cardinal group."""
        k, r = self.cardinality, self.radix
        pieces = zip(x.chunk(r * k, 1), self.conv.chunk(r * k), strict=True)
        split = [
            functional.conv2d(piece, kernel, padding=self.padding, dilation=self.dilation)
            for piece, kernel in pieces
        ]
        maps = functional.relu(self.bn0(torch.cat(split, 1))).chunk(r, 1)  # a map for each split
        fused = sum(maps[1:], maps[0])
        z = functional.relu(self.bn1(self.fc1(functional.adaptive_avg_pool2d(fused, 1))))
        groups = self.fc2(z).flatten(1).chunk(k, 1)  # each contains its r splits in sequence
        shares = [self._shares(torch.stack(group.chunk(r, 1))) for group in groups]
        choice = torch.cat(shares, 2)
        self.seen = {
            "splits": torch.stack(maps, 1),
            "fuse": fused,
            "z": z,
            "choose": torch.stack(shares, 1).permute(2, 0, 1, 3),
            "select": choice.transpose(0, 1),
        }
        weighed = [m * s[:, :, None, None] for m, s in zip(maps, choice, strict=True)]
        out = sum(weighed[1:], weighed[0])
        return functional.avg_pool2d(out, 3, self.stride, padding=1) if self.stride > 1 else out

    def _shares(self, logits: Tensor) -> Tensor:
        """Return the gates of one cardinal group from logits [radix, batch, channels]."""
        if self.radix == 1:
            return torch.sigmoid(logits)
        raised = torch.exp(logits - logits.max(0).values)
        return raised / raised.sum(0)


class Mixed(nn.Module):
    """A convolution whose kernel and bias are mixed from the experts' for each sample."""

    def __init__(self, conv: nn.Conv2d, experts: int) -> None:
        super().__init__()
        shape = conv.weight.shape
        self.kernels = nn.Parameter(torch.empty(experts, *shape))
        self.biases = None if conv.bias is None else nn.Parameter(torch.empty(experts, shape[0]))
        self.stride, self.padding = conv.stride[0], conv.padding[0]
        self.dilation, self.groups = conv.dilation[0], conv.groups

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """Return the output of each sample's convolution."""
        return torch.cat([self.one(x[i : i + 1], share) for i, share in enumerate(shares)])

    def one(self, x: Tensor, share: Tensor) -> Tensor:
        """Return the convolution of one sample."""
        kernel = torch.tensordot(share, self.kernels, 1)
        bias = None if self.biases is None else share @ self.biases
        return functional.conv2d(
            x, kernel, bias, self.stride, self.padding, self.dilation, self.groups
        )


class CondConv(nn.Module):
    """arXiv:1904.04971, equations 1 and 2: each expert's weight is a separate sigmoid."""

    def __init__(self, conv: nn.Conv2d, experts: int = 8) -> None:
        super().__init__()
        self.router = nn.Linear(conv.in_channels, experts)
        self.mixed = Mixed(conv, experts)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of each sample."""
        shares = torch.sigmoid(self.router(x.mean(dim=(2, 3))))
        self.seen = {"route": shares}
        out: Tensor = self.mixed(x, shares)
        return out


class DynamicConv(nn.Module):
    """arXiv:1912.03458, equations 2 and 3: SE's two layers, a softmax with a temperature."""

    temperature: Tensor

    def __init__(
        self, conv: nn.Conv2d, experts: int = 4, reduction: int = 4, temperature: float = 30
    ) -> None:
        super().__init__()
        hidden = conv.in_channels // reduction
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("epoch", torch.tensor(0))
        self.w1 = nn.Conv2d(conv.in_channels, hidden, 1)
        self.w2 = nn.Conv2d(hidden, experts, 1)
        self.mixed = Mixed(conv, experts)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of each sample."""
        z = functional.adaptive_avg_pool2d(x, 1)
        logits = self.w2(functional.relu(self.w1(z))).flatten(1)
        raised = torch.exp(logits / self.temperature)
        shares = raised / raised.sum(1, keepdim=True)
        self.seen = {"logits": logits, "route": shares}
        out: Tensor = self.mixed(x, shares)
        return out
