"""`save` and `load`: a composition as a folder, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_model
from torch import nn

from composer.artifact.recipe import Recipe, recipe, replay
from composer.artifact.report import Report, describe
from composer.backbones.weights import load_weights
from composer.errors import ComposerError, Diagnostic, error
from composer.spec.source import read_text

RECIPE, WEIGHTS, REPORT, READABLE = "recipe.yaml", "model.safetensors", "report.json", "report.md"


def save(
    model: nn.Module, folder: str | Path, *, force: bool = False, report: Report | None = None
) -> Path:
    """Write a composed model: its recipe, weights and report; no pickle.

    Everything is written to a temporary folder beside, which is then renamed.

    Args:
        model: what `insert` or `load` gave.
        folder: where to; it must not exist yet.
        force: replace a composition that is there.
        report: what to report; it is made from the model unless given.

    Raises:
        ComposerError: the folder exists, can't be written, or the model has no recipe.
    """
    folder = Path(folder)
    check_free(folder, force)
    made = recipe(model)
    written = (report or describe(model, made.backbone)).at(str(folder))

    def fill(place: Path) -> None:
        (place / RECIPE).write_text(made.to_yaml(), encoding="utf-8")
        save_model(model, str(place / WEIGHTS), metadata={"format": "pt"})
        (place / REPORT).write_text(
            json.dumps(written.as_json(), indent=2) + "\n", encoding="utf-8"
        )
        (place / READABLE).write_text(written.as_markdown(), encoding="utf-8")

    _write_whole(folder, fill)
    return folder


def load(folder: str | Path) -> nn.Module:
    """Return the composed model of a folder that `save` or ``composer insert`` wrote.

    Raises:
        ComposerError: it is no composition, or its backbone can't be made again.
    """
    folder = Path(folder)
    made = read_recipe(folder)
    model = replay(made)
    dtype = getattr(torch, made.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise error("bad-recipe", f"{made.dtype!r} is no dtype", "was the recipe edited?")
    model = model.to(dtype)
    load_weights(model, folder / WEIGHTS, made.backbone)
    return model


def is_composition(folder: Path) -> bool:
    """Return whether a folder holds a composition."""
    return (folder / RECIPE).is_file()


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
    return Recipe.from_yaml(read_text(path), str(path))


def check_free(folder: Path, force: bool) -> None:
    """Refuse a folder that can't be written, before any work is done.

    Raises:
        ComposerError: it exists and `force` is not said, it is no composition, or its parent
            can't be written.
    """

    def refuse(message: str, way_out: str) -> ComposerError:
        return ComposerError(Diagnostic("output", message, way_out, file=str(folder)))

    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if not is_composition(folder):
            raise refuse(
                "exists and is not a composition, so it is never replaced", "name another with -o"
            )
        if not force:
            raise refuse("exists already", "replace it with --force, or name another with -o")
    parent = folder.absolute().parent
    while not parent.exists():
        parent = parent.parent
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".composer-"):
            pass
    except OSError as failure:
        raise refuse(f"cannot be written: {failure.strerror}", "name another with -o") from None


def _write_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a temporary folder beside `folder`, then rename it; an old one goes last."""
    folder = folder.absolute()
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        fill(temporary)
        temporary.chmod(0o755)
        old = None
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-old-"))
            os.replace(folder, old)
        os.replace(temporary, folder)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as failure:
        said = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise ComposerError(
            Diagnostic(
                "output",
                f"cannot be written: {said}",
                "nothing was left behind; make room or name another with -o",
                file=str(folder),
            )
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
