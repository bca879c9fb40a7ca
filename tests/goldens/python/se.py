"""Squeeze-and-Excitation."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class SE(nn.Module):
    """Squeeze-and-Excitation, arXiv:1709.01507, equations 2 to 4.

    Args:
        channels: of the input.
        reduction: channels to hidden units of the bottleneck.
        min_width: minimum width of the bottleneck.
        bias: biases in both layers.

    Shape:
        x: [b, c, h, w]
        output: [b, c, h, w]
    """

    def __init__(
        self, channels: int, reduction: int = 16, min_width: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, min_width)
        self.excite = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(channels, hidden, bias=bias),
                act=nn.ReLU(inplace=True),
                fc2=nn.Linear(hidden, channels, bias=bias),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [b, c, h, w]."""
        squeeze = x.flatten(2).mean(2)
        excite = self.excite(squeeze)
        gate = torch.sigmoid(excite)
        return x * gate[:, :, None, None]
