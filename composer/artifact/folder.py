"""`save` and `load`: a composition as a folder, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from composer.analysis.edited import class_before_edits
from composer.artifact.in_config import load_pretrained, recipe_in_config
from composer.artifact.output import (
    READABLE,
    RECIPE,
    REPLACED,
    REPORT,
    WEIGHTS,
    check_free,
    is_composition,
    write_whole,
)
from composer.artifact.recipe import Recipe, recipe, recipe_as
from composer.artifact.replay import replay
from composer.artifact.report import Report, describe
from composer.artifact.whole import load_each, whole
from composer.errors import ComposerError, Diagnostic
from composer.language.source import read_text
from composer.models.hf_config import CONFIG
from composer.models.huggingface import config_of
from composer.models.inside import check_inside
from composer.models.weights import check_fit, save_weights
from composer.models.weights_file import header_at, read_safetensors
from composer.surgery.composition import replaced_modules
from composer.surgery.unwrapped import bare


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    force: bool = False,
    report: Report | None = None,
    backbone: str | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a composed model: its recipe, weights and report; no pickle.

    The weights of layers that something stands in for are written too, so that eject gives them
    back. What data-parallel training and `torch.compile` put around the model is taken off.
    A head that was replaced is written where the backbone can be made with it: a linear layer of
    other classes. What can't be made again is refused before anything is written.

    Everything is written to a temporary folder beside, which is then renamed.

    Args:
        model: what `insert` or `load` gave, trained or not.
        folder: where to; it must not exist yet.
        force: replace a composition that is there.
        report: what to report; it is made from the model unless given.
        backbone: the MODEL string of the backbone as it is now, where it was changed since.
        state: the full state dict of a model that is sharded or has no numbers, such as
            ``get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))``.

    Raises:
        ComposerError: the folder exists or can't be written, the model has no recipe, or its
            tensors are not whole.
    """
    folder = Path(folder)
    check_free(folder, force)
    inner, _ = bare(model)
    made = recipe(inner) if backbone is None else recipe_as(inner, backbone)
    model = whole(inner, made, state)
    written = (report or describe(model, made.backbone)).at(str(folder))

    config = _config(model) if made.backbone.startswith("hf:") else None

    def fill(place: Path) -> None:
        (place / RECIPE).write_text(made.to_yaml(), encoding="utf-8")
        if config is not None:
            (place / CONFIG).write_text(config, encoding="utf-8")
        save_weights(model, place / WEIGHTS)
        if (replaced := replaced_modules(model)).state_dict():
            save_weights(replaced, place / REPLACED)
        (place / REPORT).write_text(
            json.dumps(written.as_json(), indent=2) + "\n", encoding="utf-8"
        )
        (place / READABLE).write_text(written.as_markdown(), encoding="utf-8")

    write_whole(folder, fill, force=force)
    return folder


def _config(model: nn.Module) -> str | None:
    """Return the config that a model of transformers is made from, which its composition carries.

    A wrapper of one has none, and is made from the config that its recipe names.
    """
    if not hasattr(getattr(model, "config", None), "to_json_string"):
        return None
    return config_of(model, class_before_edits(model))


def load(folder: str | Path, *, trust_code: bool = False) -> nn.Module:
    """Return the composed model of a folder that `save` or ``composer insert`` wrote.

    A folder that ``save_pretrained`` of a composed model of transformers wrote, or its trainer, is
    one, too; of layers that something stands in for it has no weights.

    A recipe is made from what only builds: a model that timm, torchvision, transformers or
    Ultralytics has by name, with plain arguments. Nothing that lies in the folder is run.

    Args:
        folder: the composition.
        trust_code: whether a backbone of your own (``file.py:factory``,
            ``package.module:factory``, any argument) may be made by running that code, so look at
            the recipe of a folder that comes from somebody else first. A relative file is looked
            for from the current folder, then from the composition's and those above it.

    Raises:
        ComposerError: it is no composition, its backbone can't be made again, its recipe names
            code and `trust_code` is not said, or its weights are not its own.
    """
    folder = Path(folder)
    if not is_composition(folder) and (in_config := recipe_in_config(folder)) is not None:
        return load_pretrained(folder, in_config)
    made = read_recipe(folder)
    header = _header(folder / WEIGHTS, folder)
    model = replay(made, folder, trust_code=trust_code).to(getattr(torch, made.dtype))
    check_fit(model, header, folder / WEIGHTS, made.backbone)
    state = read_safetensors(folder / WEIGHTS)
    load_each(model, state, folder / WEIGHTS, made.backbone, finite=True)
    if (replaced := replaced_modules(model)).state_dict():
        name = f"what was replaced in {made.backbone}"
        check_fit(replaced, _header(folder / REPLACED, folder), folder / REPLACED, name)
        kept = read_safetensors(folder / REPLACED)
        load_each(replaced, kept, folder / REPLACED, name, finite=True)
    return model


def _header(file: Path, folder: Path) -> Mapping[str, Tensor]:
    """Return what the header of a composition's weights names; no number is read.

    Raises:
        ComposerError: the file is missing, lies outside the folder, or is no safetensors.
    """
    check_inside(file, folder)
    return header_at(file)


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a composition.

    Raises:
        ComposerError: there is none, or it is not sound.
    """
    if not is_composition(folder):
        missing = "there is no such folder" if not folder.exists() else f"it has no {RECIPE}"
        raise ComposerError(
            Diagnostic(
                "not-a-composition",
                f"this is not a composition: {missing}",
                "give a folder that 'composer insert' or composer.save wrote",
                file=str(folder),
            )
        )
    path = folder / RECIPE
    check_inside(path, folder)
    return Recipe.from_yaml(read_text(path), str(path))
