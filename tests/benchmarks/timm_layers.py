"""timm's layer for a case, with the same hyperparameters; None where it has none that works."""

from __future__ import annotations

from collections.abc import Callable

import torch
from cases import Case
from timm import layers
from timm.layers import cbam, gather_excite
from timm.layers.bottleneck_attn import BottleneckAttn
from timm.models.swin_transformer import WindowAttention, window_partition, window_reverse
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional


class Routed(nn.Module):
    """timm's CondConv2d with the router that its EfficientNet puts before it."""

    def __init__(self, conv: nn.Conv2d, experts: int = 8) -> None:
        super().__init__()
        self.routing_fn = nn.Linear(conv.in_channels, experts)
        self.conv = layers.CondConv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size[0],
            padding=conv.padding[0], num_experts=experts,
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution with the kernel of each sample."""
        pooled = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        out: Tensor = self.conv(x, torch.sigmoid(self.routing_fn(pooled)))
        return out


class Windows(nn.Module):
    """timm's attention inside windows, and the windows as its Swin makes and joins them."""

    mask: Tensor | None

    def __init__(self, case: Case, window: int = 7, shift: int = 0) -> None:
        super().__init__()
        self.window, self.shift, channels = (window, window), shift, case.channels
        self.attention = WindowAttention(channels, channels // 32, window_size=self.window)
        self.register_buffer("mask", self._mask(case.size) if shift else None)

    def _mask(self, size: tuple[int, int]) -> Tensor:
        """Return -100 for each two pixels of a window that lay apart before the shift."""
        down, across = (torch.arange(s + -s % w) for s, w in zip(size, self.window, strict=True))
        ends = [(at >= len(at) - self.window[0]).int() + (at >= len(at) - self.shift)
                for at in (down, across)]  # fmt: skip
        part = (3 * ends[0][:, None] + ends[1]).view(1, len(down), len(across), 1)
        parts = window_partition(part, self.window).flatten(1)
        apart = parts[:, :, None] != parts[:, None]
        return torch.zeros(apart.shape).masked_fill(apart, -100.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same size."""
        _, _, height, width = x.shape
        down, across = (-size % self.window[0] for size in (height, width))
        grid = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 0, across, 0, down))
        if self.shift:
            grid = torch.roll(grid, (-self.shift, -self.shift), (1, 2))
        windows = window_partition(grid, self.window).flatten(1, 2)
        given = self.attention(windows, mask=self.mask).unflatten(1, self.window)
        whole = window_reverse(given, self.window, *grid.shape[1:3])
        if self.shift:
            whole = torch.roll(whole, (self.shift, self.shift), (1, 2))
        out: Tensor = whole[:, :height, :width].permute(0, 3, 1, 2)
        return out


def _selective_kernel(case: Case) -> nn.Module:
    c = case.channels
    hidden = max(c // 16, 32)
    return layers.SelectiveKernel(c, c, groups=32, rd_channels=hidden, split_input=False)


#: timm's gather-excite raises with parameters, at 1.0.31; it has no dynamic convolution, no BAM.
LAYERS: dict[str, Callable[[Case], nn.Module]] = {
    "se": lambda case: layers.SEModule(case.channels, rd_ratio=1 / 16, rd_divisor=1),
    "ese": lambda case: layers.EffectiveSEModule(case.channels),
    "eca": lambda case: layers.EcaModule(case.channels),
    "cbam": lambda case: cbam.CbamModule(case.channels, mlp_bias=True),
    "cbam_channel": lambda case: cbam.ChannelAttn(case.channels, mlp_bias=True),
    "cbam_spatial": lambda _: cbam.SpatialAttn(),
    "ge_theta_minus": lambda case: gather_excite.GatherExcite(case.channels, use_mlp=False),
    "sk": _selective_kernel,
    "split_attention": lambda case: layers.SplitAttn(case.channels, norm_layer=nn.BatchNorm2d),
    "cond_conv": lambda case: Routed(case.conv),
    "cond_conv_1x1": lambda case: Routed(case.conv),
    "mhsa": lambda case: layers.Attention(case.channels, num_heads=8, qkv_bias=True),
    "swin_window": Windows,
    "swin_window_shifted": lambda case: Windows(case, shift=3),
    "bot_mhsa": lambda case: BottleneckAttn(
        case.channels, case.channels, case.size, num_heads=4, scale_pos_embed=True
    ),
    "transformer_layer": lambda case: Block(case.channels, num_heads=8, qkv_bias=True),
}


def timm_layer(case: Case) -> nn.Module | None:
    """Return timm's layer, where it has one."""
    make = LAYERS.get(case.name)
    return None if make is None else make(case)
