"""A fully connected layer over the channels of maps, which keep their memory order.

For maps [b, c, h, w], viewed as [b, h, w, c], torch's layer makes a channels-last copy, and returns
channels-last. A product with the maps in place avoids this. With the gradient ∂y,

    y  = W x + b        as [out, c] · [b, c, h·w]
    ∂x = Wᵀ ∂y
    ∂W = Σ ∂y xᵀ        over the batch
    ∂b = Σ ∂y

On the CPU it takes a third to two thirds of the time, and the ops around it get maps, not views in
another order. A 1×1 convolution computes the same, but allocates more maps for the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.kernels.memory import is_plain, needs_gradient
from composer.kernels.precision import FULL


def over_channels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``functional.linear`` on the last axis; a view of ``[b, c, h, w]`` gives one."""
    if has_torch_function_unary(x):
        return handle_torch_function(over_channels, (x,), x, weight, bias)
    if _is_cast(x):  # the layer of views would copy the weight for each row of a map
        dtype = torch.get_autocast_dtype("cpu")
        bias = None if bias is None else bias.to(dtype)
        with torch.autocast("cpu", enabled=False):
            return over_channels(x.to(dtype), weight.to(dtype), bias)
    multiply: Callable[..., Tensor]
    if _is_compiled_for_cpu(x):
        multiply = _compiled
    elif not _suits(x, weight, bias):
        return functional.linear(x, weight, bias)
    elif needs_gradient(x, weight, *(() if bias is None else (bias,))):
        multiply = _OverChannels.apply
    else:
        multiply = _forward
    maps = x.movedim(-1, 1)
    y = multiply(maps.flatten(2), weight, bias)
    return y.reshape(*y.shape[:2], *maps.shape[2:]).movedim(1, -1)


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    many = weight.expand(len(x), -1, -1)
    return torch.bmm(many, x) if bias is None else torch.baddbmm(bias.unsqueeze(1), many, x)


def _compiled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the same; a compiler fuses the sum, but runs ``baddbmm`` as it is, and slowly."""
    y = torch.bmm(weight.expand(x.shape[0], -1, -1), x)
    return y if bias is None else y + bias.unsqueeze(1)


class _OverChannels(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _forward(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        dx = torch.bmm(weight.t().expand(len(dy), -1, -1), dy) if wants_x else None
        dweight = _of_weight(dy, x, weight) if wants_weight else None
        return dx, dweight, dy.sum((0, 2)) if wants_bias else None


def _of_weight(dy: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    exact = weight.dtype in FULL  # else a sum is rounded each time
    if torch.is_grad_enabled() or not is_plain(dy) or not exact:
        return (dy @ x.mT).sum(0)
    dweight = torch.zeros_like(weight)
    for dy_, x_ in zip(dy, x, strict=True):
        dweight.addmm_(dy_, x_.t())
    return dweight


def _is_compiled_for_cpu(x: Tensor) -> bool:
    """Return whether a compiler runs that would copy the maps for torch's layer.

    An exporter keeps the layer, whose sizes may be open.
    """
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        return False
    return x.device.type == "cpu" and x.dim() > 2 and x.movedim(-1, 1).is_contiguous()


def _is_cast(x: Tensor) -> bool:
    """Return whether autocast would cast a view of maps."""
    return (
        torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling() and is_plain(x)
        and x.is_cpu and x.dim() > 2 and not x.is_contiguous() and x.dtype.is_floating_point
        and x.dtype != torch.float64
    )  # fmt: skip


def _suits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Return whether x is a view of maps in main memory, and the others hold plain numbers."""
    if torch.compiler.is_compiling() or not (is_plain(x) and x.is_cpu and x.dim() > 2):
        return False
    if x.is_contiguous() or not x.movedim(-1, 1).is_contiguous():
        return False
    others = (weight,) if bias is None else (weight, bias)
    return all(t.dtype == x.dtype and (type(t) is nn.Parameter or is_plain(t)) for t in others)


class Linear(nn.Linear):
    """A `Linear` for ``[b, h, w, c]``; for a view of ``[b, c, h, w]`` it returns such a view."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Return the layer on the last axis."""
        return over_channels(input, self.weight, self.bias)
