"""Batch norms whose weights and statistics are fixed, which are no `nn.BatchNorm2d`.

torchvision's, timm's, detectron2's and those of the DETRs are modules of their own: four buffers of
one number for each channel, and no parameter.
"""

from __future__ import annotations

from torch import Tensor, nn

_BUFFERS = ("weight", "bias", "running_mean", "running_var")
#: Of those that don't keep it, as DETR's do not.
_EPS = 1e-5


def is_frozen_norm(module: nn.Module) -> bool:
    """Return whether a module is a batch norm that is fixed, by a class's name and its buffers.

    It may hold what has no weights, such as timm's activation.
    """
    named = any("BatchNorm" in kind.__name__ for kind in type(module).__mro__)
    if not named or next(module.parameters(), None) is not None:
        return False
    own = dict(module.named_buffers())
    own.pop("num_batches_tracked", None)
    shapes = {tuple(buffer.shape) for buffer in own.values()}
    return own.keys() == set(_BUFFERS) and len(shapes) == 1 and len(shapes.pop()) == 1


def eps_of(norm: nn.Module) -> float:
    """Return what a norm adds to the variance."""
    eps = getattr(norm, "eps", _EPS)
    return float(eps.item() if isinstance(eps, Tensor) else eps)
