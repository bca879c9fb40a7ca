"""What MODEL names: a backbone, or a folder written by `insert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from composer.artifact.output import is_composition
from composer.models.model_string import ModelString
from composer.models.names import check_name

if TYPE_CHECKING:
    from torch import nn


def check_model(word: str) -> str:
    """Return a short word for a MODEL, without importing torch.

    Raises:
        ComposerError: there is no such composition, or no such name in its library.
    """
    if is_composition(Path(word)):
        return Path(word).resolve().name
    source = ModelString.parse(word)
    check_name(source)
    return source.short


def open_model(
    word: str,
    pretrained: bool = False,
    weights: str | None = None,
    *,
    trust_code: bool = False,
) -> tuple[nn.Module, str]:
    """Return the model that MODEL names, and the MODEL string of its backbone.

    Args:
        word: a MODEL string, whose code is run, since the user wrote it; or a composition's
            folder.
        pretrained: whether the library's published weights are loaded.
        weights: a weights file.
        trust_code: whether code that a composition's recipe names may be run.

    Raises:
        ComposerError: it can't be made, or the weights don't fit.
    """
    from composer.artifact.folder import load, read_recipe
    from composer.models.open import open_backbone
    from composer.models.weights import load_weights

    if is_composition(Path(word)):
        return load(word, trust_code=trust_code), read_recipe(Path(word)).backbone
    source = ModelString.parse(word)
    model = open_backbone(source, pretrained)
    if weights:
        load_weights(model, Path(weights), str(source))
    return model, str(source)
