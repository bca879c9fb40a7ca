"""A fully connected layer over the channels of maps, which keep their memory order.

For maps [b, c, h, w], viewed as [b, h, w, c], torch's layer makes a channels-last copy, and returns
channels-last. Without gradients, a product with the maps in place avoids this:

    y = W x + b      as [out, c] · [b, c, h·w]

On the CPU it takes a third to two thirds of the time, and the next op gets maps, not a view. With
gradients a 1×1 convolution of the maps takes as long as the layer, but the gradients of the ops
around it stay in one order: adding and multiplying in two takes several times as long.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.memory import is_plain, needs_gradient


def over_channels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``functional.linear`` on the last axis; a view of ``[b, c, h, w]`` gives one."""
    if has_torch_function_unary(x):
        return handle_torch_function(over_channels, (x,), x, weight, bias)
    if not _suits(x, weight):
        return functional.linear(x, weight, bias)
    maps = x.movedim(-1, 1)
    if needs_gradient(x, weight):
        image = maps if maps.dim() == 4 else maps.flatten(2).unsqueeze(3)
        y = functional.conv2d(image, weight[:, :, None, None], bias)
        return y.reshape(*y.shape[:2], *maps.shape[2:]).movedim(1, -1)
    flat = maps.flatten(2)
    many = weight.expand(len(flat), -1, -1)
    y = torch.bmm(many, flat) if bias is None else torch.baddbmm(bias.unsqueeze(1), many, flat)
    return y.reshape(*y.shape[:2], *maps.shape[2:]).movedim(1, -1)


def _suits(x: Tensor, weight: Tensor) -> bool:
    """Return whether x is a view of maps in main memory."""
    if torch.compiler.is_compiling() or not (is_plain(x) and x.is_cpu and x.dim() > 2):
        return False
    if x.is_contiguous() or not x.movedim(-1, 1).is_contiguous():
        return False
    same = x.dtype == weight.dtype and type(weight) in (Tensor, nn.Parameter)
    return same and not torch.is_autocast_enabled("cpu")


class Linear(nn.Linear):
    """A `Linear` for ``[b, h, w, c]``; for a view of ``[b, c, h, w]`` it returns such a view."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Return the layer on the last axis."""
        return over_channels(input, self.weight, self.bias)
