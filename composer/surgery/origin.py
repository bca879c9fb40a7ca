"""Whether a MODEL string makes the given model."""

from __future__ import annotations

import torch
from torch import nn

from composer.errors import ComposerError, error
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery.composition import difference_of_shapes, own_shapes
from composer.surgery.own_modules import difference_of_modules, own_modules


def check_origin(model: nn.Module, backbone: str) -> None:
    """Refuse a MODEL string that makes a different model than the given one, composed or not.

    Raises:
        ComposerError: keys, shapes or modules differ, or it makes no model.
    """
    if other := difference_from(model, backbone):
        raise error(
            "another-backbone",
            f"{backbone} makes a different model than the {type(model).__name__} given: {other}",
            "name the MODEL of the given model, with its arguments",
        )


def made_anew(backbone: str) -> nn.Module:
    """Return the model of a MODEL string for its structure, on the meta device if possible.

    Raises:
        ComposerError: it makes no model.
    """
    source = ModelString.parse(backbone)
    try:
        with torch.device("meta"):
            return open_backbone(source)
    except (ComposerError, RuntimeError, NotImplementedError):
        return open_backbone(source)  # torchvision's RegNets, and YOLO, compute with tensors


def difference_from(model: nn.Module, backbone: str) -> str | None:
    """Return the first difference between a model and the one that a MODEL string makes.

    Raises:
        ComposerError: it makes no model.
    """
    made = made_anew(backbone)
    return difference_of_shapes(own_shapes(model), own_shapes(made)) or difference_of_modules(
        own_modules(model), own_modules(made)
    )
