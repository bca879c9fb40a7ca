"""The folder of a composition: where it may go, and how it is written whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from composer.errors import ComposerError, Diagnostic

RECIPE, WEIGHTS, REPORT, READABLE = "recipe.yaml", "model.safetensors", "report.json", "report.md"
#: The weights of layers that something stands in for, where there are such.
REPLACED = "replaced.safetensors"


def is_composition(folder: Path) -> bool:
    """Return whether a folder holds a composition."""
    try:
        return (folder / RECIPE).is_file()
    except OSError:
        return False


def check_free(folder: Path, force: bool) -> None:
    """Refuse a folder that can't be written, before any work is done.

    Raises:
        ComposerError: it exists and `force` is not said, it is no composition, or its parent
            can't be written.
    """
    try:
        empty = folder.is_dir() and not any(folder.iterdir())
        taken = folder.exists() and not empty
        place = folder if empty else _nearest(folder.resolve().parent)
        if not taken or (force and is_composition(folder)):
            with tempfile.TemporaryDirectory(dir=place, prefix=".composer-"):
                pass
    except OSError as failure:
        way_out = "name another with -o"
        raise _refused(folder, f"cannot be written: {failure.strerror}", way_out) from None
    if taken and not is_composition(folder):
        raise _refused(
            folder, "exists and is not a composition, so it is never replaced",
            "name another with -o",
        )  # fmt: skip
    if taken and not force:
        raise _refused(
            folder, "exists already", "replace it with --force, or name another with -o"
        )


def write_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a temporary folder and move it to `folder`; what was there stays until it is full.

    An empty folder that is there, such as a mounted one, is kept, and filled recipe last.

    Raises:
        ComposerError: it can't be written; all is as it was before.
    """
    try:
        _write(folder.resolve(), fill)
    except OSError as failure:
        raise _refused(
            folder,
            f"cannot be written: {failure.strerror or failure}",
            "nothing was left behind; make room, or name another with -o",
        ) from None


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    empty = folder.is_dir() and not any(folder.iterdir())
    made = _missing(folder.parent)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder if empty else folder.parent
        temporary = Path(tempfile.mkdtemp(dir=beside, prefix=f".{folder.name[:40]}-"))
        fill(temporary)
        temporary.chmod(_mode_of_a_new_folder(temporary))
        if empty:
            for path in sorted(temporary.iterdir(), key=lambda path: path.name == RECIPE):
                path.replace(folder / path.name)
        else:
            _swap(temporary, folder)
        made = []
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def _mode_of_a_new_folder(inside: Path) -> int:
    """Return the mode that the user's umask gives; a temporary folder keeps others out."""
    trial = inside / ".trial"
    trial.mkdir()
    mode = trial.stat().st_mode
    trial.rmdir()
    return mode


def _swap(temporary: Path, folder: Path) -> None:
    """Put a full folder in the place of `folder`; where that fails the old one comes back."""
    if not folder.exists():
        temporary.rename(folder)
        return
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:40]}-old-"))
    try:
        folder.replace(old)
    except BaseException:
        old.rmdir()
        raise
    try:
        temporary.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or the nearest above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _missing(folder: Path) -> list[Path]:
    """Return the folders that have to be made for this one, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def _refused(folder: Path, message: str, way_out: str) -> ComposerError:
    return ComposerError(Diagnostic("output", message, way_out, file=str(folder)))
