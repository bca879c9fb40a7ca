"""Who runs in a case: ours, timm's layer, the plain module; and whether ours and plain agree."""

from __future__ import annotations

import torch
from cases import Case
from plain import plain
from timm_layers import timm_layer
from torch import nn

#: How far ours and plain may lie apart, relative to the largest number, in float32.
SLACK = 1e-4


def rivals(case: Case) -> dict[str, nn.Module]:
    """Return the modules of a case by name; ours first. Ours and plain have the same weights."""
    torch.manual_seed(0)
    ours = case.ours()
    draw(ours)
    found = {"ours": ours, "timm": timm_layer(case), "plain": plain(case)}
    if found["plain"] is not None:
        copy_weights(ours, found["plain"])
    return {name: module for name, module in found.items() if module is not None}


def draw(module: nn.Module) -> None:
    """Draw every weight and statistic anew, so that no zero or one hides a mistake."""
    with torch.no_grad():
        for weight in module.parameters():
            scale = (weight.numel() / len(weight)) ** -0.5 if weight.dim() > 1 else 0.5
            weight.copy_(scale * torch.randn(weight.shape))
        for key, tensor in module.named_buffers():
            if key.endswith("running_mean"):
                tensor.copy_(0.5 * torch.randn(tensor.shape))
            elif key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape))


def copy_weights(ours: nn.Module, other: nn.Module) -> None:
    """Copy weights and statistics in their order.

    Raises:
        ValueError: the other module has other tensors.
    """
    pairs = []
    for kind in ("parameters", "buffers"):
        mine, theirs = list(getattr(ours, kind)()), list(getattr(other, kind)())
        sizes = [[t.numel() for t in tensors] for tensors in (mine, theirs)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"{kind} of {sizes[0]} and {sizes[1]} elements")
        pairs += zip(mine, theirs, strict=True)
    with torch.no_grad():
        for mine, theirs in pairs:
            theirs.copy_(mine.reshape(theirs.shape))


def difference(case: Case, modules: dict[str, nn.Module]) -> float | None:
    """Return how far ours and plain lie apart on two samples, relative to the largest number.

    Raises:
        ValueError: one of the modules gives an output of another shape.
    """
    x = torch.randn(2, *case.shape)
    with torch.inference_mode():
        outs = {name: module.eval()(x) for name, module in modules.items()}
    shapes = {name: tuple(out.shape) for name, out in outs.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"{case}: outputs of shapes {shapes}")
    if "plain" not in outs:
        return None
    return float((outs["ours"] - outs["plain"]).abs().max() / outs["ours"].abs().max())
