"""Who runs in a case: ours, the layer of timm and of torch, the plain module; do ours and it agree?

The plain module is one written as the authors' code is; where there is none, it is the
certificate's oracle, which is written to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from cases import Case
from plain import plain
from results import OTHERS
from timm_layers import timm_layer
from torch import Tensor, nn
from torch_layers import torch_layer

#: Ours, and those it is compared with, in the order of the columns.
NAMES = ("ours", *OTHERS)

#: How far ours and plain may lie apart, relative to the largest number, in float32.
SLACK = 1e-4


def rivals(case: Case) -> dict[str, nn.Module]:
    """Return the modules of a case by name; ours first. Ours and plain have the same weights."""
    torch.manual_seed(0)
    ours = case.ours()
    draw(ours)
    layers = (ours, timm_layer(case), torch_layer(case), _plain(case, ours))
    found = dict(zip(NAMES, layers, strict=True))
    return {name: module for name, module in found.items() if module is not None}


def _plain(case: Case, ours: nn.Module) -> nn.Module:
    """Return the plain module, its parameters in the order of ours, with the weights of ours."""
    written = plain(case)
    if written is not None:
        copy_weights(ours, written)
        return written
    return InOrder(case.oracle(), case.claimed.keys, ours)


class InOrder(nn.Module):
    """An oracle with our weights; it has its parameters in the order of ours."""

    def __init__(self, oracle: nn.Module, keys: Mapping[str, str], ours: nn.Module) -> None:
        super().__init__()
        self.oracle, self.order = oracle, [keys[name] for name, _ in ours.named_parameters()]
        theirs = oracle.state_dict()
        oracle.load_state_dict(
            {keys[key]: tensor.reshape(theirs[keys[key]].shape)
             for key, tensor in ours.state_dict().items()}
        )  # fmt: skip

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield them in the order of ours."""
        return ((key, self.oracle.get_parameter(key)) for key in self.order)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the oracle does."""
        out: Tensor = self.oracle(x)
        return out


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


def difference(case: Case, modules: dict[str, nn.Module]) -> float:
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
    return float((outs["ours"] - outs["plain"]).abs().max() / outs["ours"].abs().max())
