"""The variance and standard deviation over some axes, from the differences to the mean.

Torch's own versions process the values one by one on the CPU; a mean, a difference and a sum of
squares take a sixth of that time. Both divide by the number of values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.length import OWN, length


def variance(x: Tensor, over: Sequence[int]) -> Tensor:
    """Return the biased variance over the axes `over`."""
    if has_torch_function_unary(x):
        return handle_torch_function(variance, (x,), x, over)
    if not _suits(x):
        return torch.var(x, tuple(over), correction=0)
    return _distances(x, over).square().mean(tuple(over)).to(x.dtype)


def deviation(x: Tensor, over: Sequence[int]) -> Tensor:
    """Return the square root of the variance; where it is zero, its gradient is zero."""
    if has_torch_function_unary(x):
        return handle_torch_function(deviation, (x,), x, over)
    if not _suits(x):
        return torch.std(x, tuple(over), correction=0)
    number = math.prod(x.shape[axis] for axis in over)
    return (length(_distances(x, over), tuple(over)) / math.sqrt(number)).to(x.dtype)


def _suits(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and x.dtype.is_floating_point and not torch.compiler.is_compiling()
    )


def _distances(x: Tensor, over: Sequence[int]) -> Tensor:
    """Return the differences to the mean, at least in float32."""
    x = x if x.dtype in OWN else x.float()
    return x - x.mean(tuple(over), keepdim=True)
