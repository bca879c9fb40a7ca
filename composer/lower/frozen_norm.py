"""Frozen batch norms, whose weights and statistics are fixed, and which are not `nn.BatchNorm2d`.

Those of torchvision, timm, detectron2 and the DETRs are separate classes: four buffers with one
number per channel, and no parameters.
"""

from __future__ import annotations

from torch import Tensor, nn

_BUFFERS = ("weight", "bias", "running_mean", "running_var")
#: The eps of those that don't store it, such as DETR's.
_EPS = 1e-5


def is_frozen_norm(module: nn.Module) -> bool:
    """Return whether a module is a frozen batch norm, by its class name and buffers.

    It may contain modules without weights, such as timm's activation.
    """
    named = any("BatchNorm" in kind.__name__ for kind in type(module).__mro__)
    if not named or next(module.parameters(), None) is not None:
        return False
    own = dict(module.named_buffers())
    own.pop("num_batches_tracked", None)
    shapes = {tuple(buffer.shape) for buffer in own.values()}
    return own.keys() == set(_BUFFERS) and len(shapes) == 1 and len(shapes.pop()) == 1


def eps_of(norm: nn.Module) -> float:
    """Return the eps of a norm."""
    eps = getattr(norm, "eps", _EPS)
    return float(eps.item() if isinstance(eps, Tensor) else eps)
