"""The backbone that a recipe names, made safely or with trust in its code."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from composer.artifact.recipe_read import placed
from composer.errors import ComposerError
from composer.language.source import Source
from composer.models.hf_config import CONFIG
from composer.models.model_string import ModelString
from composer.models.open import open_backbone, open_trusted
from composer.models.trusted import refusal


def backbone_of(backbone: str, origin: Source, folder: Path | None, trust_code: bool) -> nn.Module:
    """Make the backbone that a recipe names.

    Args:
        backbone: its MODEL string.
        origin: the recipe's text, for messages.
        folder: the composition's; where code is trusted, a relative file is also searched from
            there.
        trust_code: whether code and files that the recipe names may be used.

    Raises:
        ComposerError: code ``untrusted-code`` where that is needed and not set; or it can't be
            made.
    """
    source = ModelString.parse(backbone)
    with placed(origin, ("backbone",)):
        if not trust_code or _carries_its_config(source, folder):
            return open_trusted(source, folder)
        return open_backbone(source, beside=folder)


def check_trusted(backbone: str, origin: Source) -> None:
    """Refuse the backbone of a recipe that would do more than build a model.

    Raises:
        ComposerError: code ``untrusted-code``.
    """
    with placed(origin, ("backbone",)):
        if (why := refusal(ModelString.parse(backbone))) is not None:
            raise ComposerError(why)


def needs_trust(backbone: str) -> bool:
    """Return whether a saved composition of a backbone loads only with trust in its code."""
    return refusal(ModelString.parse(backbone)) is not None


def _carries_its_config(source: ModelString, folder: Path | None) -> bool:
    return (
        source.library == "hf"
        and folder is not None
        and (folder / CONFIG).is_file()
        and (refusal(source) is None)
    )
