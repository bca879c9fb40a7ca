"""Convolutional Block Attention Module."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class CBAM(nn.Module):
    """Convolutional Block Attention Module, arXiv:1807.06521, equations 1 to 3.

    Written for spatial_norm = batch.

    Args:
        channels: of the input.
        reduction: channels to hidden units of the bottleneck.
        min_width: minimum width of the bottleneck.
        kernel: size of the spatial convolution.
        bias: biases in both layers of the bottleneck.
        spatial_scale: initial weight of that norm.

    Shape:
        x: [b, c, h, w]
        output: [b, c, h, w]
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        min_width: int = 0,
        kernel: int = 7,
        bias: bool = True,
        spatial_scale: int = 0,
    ) -> None:
        super().__init__()
        width = max(channels // reduction, min_width)
        self.channel = nn.ModuleDict(
            {
                "excite": nn.Sequential(
                    OrderedDict(
                        fc1=nn.Linear(channels, width, bias=bias),
                        act=nn.ReLU(inplace=True),
                        fc2=nn.Linear(width, channels, bias=bias),
                    )
                )
            }
        )
        self.spatial = nn.ModuleDict(
            {
                "locate": nn.Sequential(
                    OrderedDict(
                        conv=nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False),
                        norm=nn.BatchNorm2d(1, momentum=0.01),
                    )
                )
            }
        )
        nn.init.constant_(self.spatial.locate.norm.weight, spatial_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return [b, c, h, w]."""
        channel_squeeze = torch.stack((x.mean((2, 3)), x.amax((2, 3))), 1)
        channel_excite = self.channel.excite(channel_squeeze)
        channel_sum = channel_excite.sum(1)
        channel_gate = torch.sigmoid(channel_sum)
        channel_out = x * channel_gate[:, :, None, None]
        spatial_maps = torch.stack((channel_out.amax(1), channel_out.mean(1)), 1)
        spatial_locate = self.spatial.locate(spatial_maps).squeeze(1)
        spatial_gate = torch.sigmoid(spatial_locate)
        return channel_out * spatial_gate.unsqueeze(1)
