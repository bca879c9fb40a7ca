"""Whether a MODEL string makes the model that is there."""

from __future__ import annotations

import torch
from torch import nn

from composer.errors import ComposerError, error
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery.composition import difference_of_shapes, own_shapes
from composer.surgery.own_modules import difference_of_modules, own_modules


def check_origin(model: nn.Module, backbone: str) -> None:
    """Refuse a MODEL string that makes another model than the one given, composed or not.

    Raises:
        ComposerError: keys, shapes or the modules differ, or it makes none.
    """
    if other := difference_from(model, backbone):
        raise error(
            "another-backbone",
            f"{backbone} makes another model than the {type(model).__name__} given: {other}",
            "name the MODEL that the given model came from, with its arguments",
        )


def made_anew(backbone: str) -> nn.Module:
    """Return what a MODEL string makes, for its structure: its tensors have no numbers if they can.

    Raises:
        ComposerError: it makes none.
    """
    source = ModelString.parse(backbone)
    try:
        with torch.device("meta"):
            return open_backbone(source)
    except (ComposerError, RuntimeError, NotImplementedError):
        return open_backbone(source)  # torchvision's RegNets, and YOLO, reckon with tensors


def difference_from(model: nn.Module, backbone: str) -> str | None:
    """Return what differs first between a model and the one that a MODEL string makes.

    Raises:
        ComposerError: it makes none.
    """
    made = made_anew(backbone)
    return difference_of_shapes(own_shapes(model), own_shapes(made)) or difference_of_modules(
        own_modules(model), own_modules(made)
    )
