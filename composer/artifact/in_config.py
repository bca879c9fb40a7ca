"""The recipe in the config of a model of transformers, so that ``save_pretrained`` carries it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from composer.artifact.recipe import Recipe, recipe_of
from composer.artifact.replay import repeat_edits
from composer.errors import ComposerError, Diagnostic
from composer.models.hf_config import CONFIG
from composer.models.huggingface import check_weights_alone
from composer.models.inside import check_inside, is_inside
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.models.weights import check_finite
from composer.surgery.composition import composition, replaced_modules

#: The attribute of the config.
KEY = "composer_recipe"


def keep_in_config(model: nn.Module) -> None:
    """Write a composed model's recipe into its config; remove it where nothing is inserted.

    Models of other libraries are left alone.
    """
    config: Any = getattr(model, "config", None)
    if not _is_of_transformers(model) or config is None:
        return
    if composition(model) is None:
        vars(config).pop(KEY, None)
    else:
        setattr(config, KEY, recipe_of(model, f"hf:{CONFIG}").to_yaml())


def _is_of_transformers(model: nn.Module) -> bool:
    bases = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    return "transformers" in bases and hasattr(model, "save_pretrained")


def recipe_in_config(folder: Path) -> Recipe | None:
    """Return the recipe that a folder of ``save_pretrained`` carries, if it does.

    Raises:
        ComposerError: it is not valid.
    """
    file = folder / CONFIG
    if not is_inside(file, folder):
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    text = data.get(KEY) if isinstance(data, dict) else None
    return Recipe.from_yaml(text, f"{file}: {KEY}") if isinstance(text, str) else None


def load_pretrained(folder: Path, made: Recipe) -> nn.Module:
    """Return the composed model whose weights ``save_pretrained`` wrote.

    transformers loads them, since it may write other keys than the model has, into a subclass of
    the plain class that repeats the edits when it is constructed.

    Raises:
        ComposerError: the backbone can't be made, an edit finds no site, or weights are missing.
    """
    if made.backbone != f"hf:{CONFIG}":
        where = made.origin.at(("backbone",))
        message = f"the recipe in a config must be for that config, and not for {made.backbone!r}"
        way_out = f"it should have 'backbone: hf:{CONFIG}'; was it edited?"
        raise ComposerError(Diagnostic("bad-recipe", message, way_out, where))
    check_inside(folder / CONFIG, folder)
    check_weights_alone(folder)
    source = ModelString("hf", str(folder / CONFIG))
    with torch.device("meta"):
        opened: Any = open_backbone(source)
    plain, config = type(opened), opened.config

    def init(self: Any, config: Any) -> None:
        plain.__init__(self, config)
        repeat_edits(self, made)

    kind: Any = type(plain.__name__, (plain,), {"__init__": init, "__module__": plain.__module__})
    try:
        model, found = kind.from_pretrained(
            folder, config=config, use_safetensors=True, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError) as failure:
        said = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
        raise _refused(folder, f"the weights cannot be loaded: {said}") from None
    wrong = [key for what in ("missing_keys", "unexpected_keys") for key in found.get(what, ())]
    if wrong:
        raise _refused(folder, f"its weights don't match its recipe: {sorted(wrong)[0]}")
    check_finite(model.state_dict(), {}, folder)
    if type(model) is kind:
        model.__class__ = plain
    replaced_modules(model).to("meta")  # unknown to transformers
    assert isinstance(model, nn.Module)
    return model


def _refused(folder: Path, message: str) -> ComposerError:
    way_out = "was it written by save_pretrained of a composed model, and not changed since?"
    return ComposerError(Diagnostic("weights", message, way_out, file=str(folder)))
