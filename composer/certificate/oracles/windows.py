"""Window weights generated at each position: involution, CoT, outlook attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def shifted(x: Tensor, kernel: int, stride: int = 1, dilation: int = 1) -> list[Tensor]:
    """Return the zero-padded map shifted to each position of a window, row by row."""
    height, width = x.shape[-2:]
    reach = dilation * (kernel // 2)
    padded = functional.pad(x, (reach, reach, reach, reach))
    return [
        padded[..., down : down + height : stride, across : across + width : stride]
        for down in range(0, dilation * kernel, dilation)
        for across in range(0, dilation * kernel, dilation)
    ]


class Involution(nn.Module):
    """arXiv:2103.06255: a kernel for each position, shared by groups of channels.

    If the number of channels changes, a 1×1 convolution comes first.
    """

    def __init__(
        self, conv: nn.Conv2d, window: int = 7, group_width: int = 16, reduction: int = 4
    ) -> None:
        super().__init__()
        width, out = conv.in_channels, conv.out_channels
        self.window, self.groups = window, out // group_width
        self.stride, self.dilation = conv.stride[0], conv.dilation[0]
        self.w0 = nn.Conv2d(width, width // reduction, 1, bias=False)
        self.bn = nn.BatchNorm2d(width // reduction)
        self.w1 = nn.Conv2d(width // reduction, window**2 * self.groups, 1)
        self.initial = None if width == out else nn.Conv2d(width, out, 1, bias=False)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum over each window, weighted by the kernel of its position."""
        small = functional.avg_pool2d(x, self.stride, self.stride, ceil_mode=True)
        hidden = functional.relu(self.bn(self.w0(small)))
        kernels = self.w1(hidden).unflatten(1, (self.groups, self.window**2))
        values = x if self.initial is None else self.initial(x)
        views = shifted(values, self.window, self.stride, self.dilation)
        out = torch.zeros_like(views[0])
        for number, view in enumerate(views):
            grouped = torch.unflatten(view, 1, (self.groups, -1))
            out = out + (grouped * kernels[:, :, number, None]).flatten(1, 2)
        self.seen = {"reduce": hidden, "out": out}
        return out


class CoT(nn.Module):
    """arXiv:2107.12292, with the norms and the fusion of the authors' code."""

    def __init__(self, conv: nn.Conv2d, key_groups: int = 4, share: int = 8) -> None:
        super().__init__()
        width, out, kernel = conv.in_channels, conv.out_channels, conv.kernel_size[0]
        self.kernel, self.stride, self.matrices = kernel, conv.stride[0], out // share
        self.key = nn.Conv2d(width, out, kernel, padding=kernel // 2, groups=key_groups, bias=False)
        self.key_bn = nn.BatchNorm2d(out)
        self.theta = nn.Conv2d(width + out, out // 2, 1, bias=False)
        self.theta_bn = nn.BatchNorm2d(out // 2)
        self.delta = nn.Conv2d(out // 2, kernel**2 * self.matrices, 1)
        self.delta_gn = nn.GroupNorm(self.matrices, kernel**2 * self.matrices)
        self.value = nn.Conv2d(width, out, 1, bias=False)
        self.value_bn = nn.BatchNorm2d(out)
        self.bn = nn.BatchNorm2d(out)
        hidden = max(2 * out // 4, 32)
        self.fc1, self.fc1_bn = nn.Conv2d(out, hidden, 1), nn.BatchNorm2d(hidden)
        self.fc2 = nn.Conv2d(hidden, 2 * out, 1)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the static and the dynamic context, weighted for each channel."""
        if self.stride > 1:
            x = functional.avg_pool2d(x, 3, self.stride, 1)
        static = functional.relu(self.key_bn(self.key(x)))
        both = torch.cat([x, static], 1)
        made = self.delta(functional.relu(self.theta_bn(self.theta(both))))
        attention = self.delta_gn(made).unflatten(1, (self.matrices, self.kernel**2))
        values = self.value_bn(self.value(x))
        dynamic = torch.zeros_like(values)
        for number, view in enumerate(shifted(values, self.kernel)):
            by = attention[:, :, number]
            many = values.shape[1] // self.matrices
            dynamic = dynamic + view * by.repeat(
                1, many, 1, 1
            )  # channel c uses matrix c mod matrices
        dynamic = self.bn(dynamic)
        dynamic = dynamic * torch.sigmoid(dynamic)
        squeezed = functional.adaptive_avg_pool2d(dynamic + static, 1)
        logits = self.fc2(functional.relu(self.fc1_bn(self.fc1(squeezed))))
        first, second = logits.flatten(1).unflatten(1, (-1, 2)).unbind(2)
        share = torch.sigmoid(first - second)[:, :, None, None]  # a softmax of two
        self.seen = {"static": static, "dynamic": dynamic}
        out: Tensor = dynamic * share + static * (1 - share)
        return out


class Outlook(nn.Module):
    """arXiv:2106.13112: each centre alone determines its window's attention."""

    def __init__(
        self,
        channels: int,
        heads: int,
        kernel: int = 3,
        stride: int = 2,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.kernel, self.stride = heads, kernel, stride
        self.v = nn.Linear(channels, channels, bias=bias)
        self.a = nn.Linear(channels, heads * kernel**4)
        self.proj = nn.Linear(channels, channels)
        self.seen: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum at each position over all windows that contain it."""
        height, width = x.shape[2:]
        values = self.v(x.movedim(1, -1)).movedim(-1, 1)
        centres = functional.avg_pool2d(x, self.stride, self.stride, ceil_mode=True)
        made = self.a(centres.movedim(1, -1)) / math.sqrt(x.shape[1] / self.heads)
        many = self.kernel**2
        raised = torch.exp(made.unflatten(-1, (self.heads, many, many)))
        attention = raised / raised.sum(-1, keepdim=True)
        windows = torch.stack(shifted(values, self.kernel, self.stride), -1)
        windows = torch.unflatten(windows, 1, (self.heads, -1))  # [b, head, d, h, w, place]
        mixed = torch.einsum("brchij,bhdrcj->bhdrci", attention, windows)
        reach = self.kernel // 2
        whole = x.new_zeros(*values.shape[:2], height + 2 * reach + 2, width + 2 * reach + 2)
        for number, part in enumerate(mixed.flatten(1, 2).unbind(-1)):
            down, across = divmod(number, self.kernel)
            rows = slice(down, down + part.shape[-2] * self.stride, self.stride)
            columns = slice(across, across + part.shape[-1] * self.stride, self.stride)
            whole[..., rows, columns] += part
        inner = whole[..., reach : reach + height, reach : reach + width]
        self.seen = {"fold": inner}
        out: Tensor = self.proj(inner.movedim(1, -1)).movedim(-1, 1)
        return out
