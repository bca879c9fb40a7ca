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

    The weights of replaced layers are also written, so that eject restores them. The wrappers of
    data-parallel training and `torch.compile` are removed.
    A replaced head is written if the backbone can be made with it: a linear layer with another
    number of classes. A model that can't be made again is refused before anything is written.

    Everything is written to a temporary folder next to it, which is then renamed.

    Args:
        model: a model returned by `insert` or `load`, trained or not.
        folder: the folder to write; it must not exist yet.
        force: overwrite an existing composition.
        report: its report; made from the model by default.
        backbone: the MODEL string of the backbone as it is now, if it was changed since insertion.
        state: the full state dict of a model that is sharded or on the meta device, such as
            ``get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))``.

    Raises:
        ComposerError: the folder exists or can't be written, the model has no recipe, or its
            tensors are incomplete.
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
    """Return the config of a model of transformers, which its composition carries.

    A wrapper of one has no config, and is made from the one that its recipe names.
    """
    if not hasattr(getattr(model, "config", None), "to_json_string"):
        return None
    return config_of(model, class_before_edits(model))


def load(folder: str | Path, *, trust_code: bool = False) -> nn.Module:
    """Return the composed model of a folder written by `save` or ``composer insert``.

    A folder written by ``save_pretrained`` of a composed model of transformers, or by its trainer,
    is also accepted; it has no weights of replaced layers.

    By default only safe backbones are made: a model that timm, torchvision, transformers or
    Ultralytics has by name, with plain arguments. Nothing in the folder is run.

    Args:
        folder: the composition.
        trust_code: whether a custom backbone (``file.py:factory``,
            ``package.module:factory``, any argument) may be made by running that code, so first
            look at the recipe of a folder from somebody else. A relative file is searched from the
            current folder, then from the composition's folder and its parents.

    Raises:
        ComposerError: it is not a composition, its backbone can't be made again, its recipe
            names code and `trust_code` is not set, or its weights don't match.
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
    """Return the tensors in the header of a composition's weights; no number is read.

    Raises:
        ComposerError: the file is missing, outside the folder, or not safetensors.
    """
    check_inside(file, folder)
    return header_at(file)


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of a composition.

    Raises:
        ComposerError: there is none, or it is not valid.
    """
    if not is_composition(folder):
        missing = "there is no such folder" if not folder.exists() else f"it has no {RECIPE}"
        raise ComposerError(
            Diagnostic(
                "not-a-composition",
                f"this is not a composition: {missing}",
                "give a folder written by 'composer insert' or composer.save",
                file=str(folder),
            )
        )
    path = folder / RECIPE
    check_inside(path, folder)
    return Recipe.from_yaml(read_text(path), str(path))
