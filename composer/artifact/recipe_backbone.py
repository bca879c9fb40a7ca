"""The backbone that a recipe names: made of what only builds, or with trust in its code."""

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
        folder: the composition's; a relative file is looked for from there, too, where code is
            trusted.
        trust_code: whether code and files may be used that the recipe names.

    Raises:
        ComposerError: code ``untrusted-code`` where that is needed and not said; or it can't be
            made.
    """
    source = ModelString.parse(backbone)
    with placed(origin, ("backbone",)):
        if not trust_code or _carries_its_config(source, folder):
            return open_trusted(source, folder)
        return open_backbone(source, beside=folder)


def check_trusted(backbone: str, origin: Source) -> None:
    """Refuse the backbone of a recipe that takes more than what only builds.

    Raises:
        ComposerError: code ``untrusted-code``.
    """
    with placed(origin, ("backbone",)):
        if (why := refusal(ModelString.parse(backbone))) is not None:
            raise ComposerError(why)


def needs_trust(backbone: str) -> bool:
    """Return whether a saved composition of a backbone loads with trust in its code alone."""
    return refusal(ModelString.parse(backbone)) is not None


def _carries_its_config(source: ModelString, folder: Path | None) -> bool:
    return (
        source.library == "hf"
        and folder is not None
        and (folder / CONFIG).is_file()
        and (refusal(source) is None)
    )
