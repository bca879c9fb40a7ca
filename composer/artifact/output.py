"""The folder of a composition: where it may go, and how it is written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from composer.files.file import (
    came_meanwhile,
    check_parent,
    kind_of,
    real,
    refused,
    unconfirmed,
    unwritable,
)
from composer.files.putting import (
    CameMeanwhileError,
    UnconfirmedError,
    identity_of,
    put,
    put_into,
    put_onto_empty,
)
from composer.files.room import Room, clean, flush, is_room, room

RECIPE, WEIGHTS, REPORT, READABLE = "recipe.yaml", "model.safetensors", "report.json", "report.md"
#: The weights of replaced layers, if any.
REPLACED = "replaced.safetensors"

#: System errors of a folder that is not writable.
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_ANOTHER = "choose another with -o"


def is_composition(folder: Path) -> bool:
    """Return whether a folder holds a composition."""
    try:
        return (folder / RECIPE).is_file()
    except (OSError, ValueError):
        return False


def check_free(folder: Path, force: bool) -> None:
    """Refuse a folder that can't be written, before any work is done.

    Raises:
        ComposerError: it exists and `force` is not set, it is not a composition, or its parent
            can't be written.
    """
    try:
        _check(folder, force)
        with _room_for(real(folder)):  # is the parent writable?
            pass
    except (OSError, ValueError) as failure:
        raise unwritable(folder, failure) from None


def write_whole(folder: Path, fill: Callable[[Path], None], *, force: bool = False) -> None:
    """Fill a temporary folder next to `folder`, which takes its name in one step.

    A link to a folder is followed. An empty folder that can't be replaced, such as a mount point,
    is kept and filled, with the recipe last.

    Args:
        folder: where to.
        fill: writes the contents into the folder that it is given.
        force: whether an existing composition is replaced; one created meanwhile never is.

    Raises:
        ComposerError: it can't be written; nothing has changed.
    """
    try:
        _check(folder, force)
        _write(real(folder), fill)
    except CameMeanwhileError:
        raise came_meanwhile(folder) from None
    except UnconfirmedError as failure:
        raise unconfirmed(folder, failure) from None
    except OSError as failure:
        raise refused(
            folder,
            f"cannot be written: {failure.strerror or failure}",
            "nothing was left behind; free some space, or choose another with -o",
        ) from None
    except ValueError as failure:
        raise unwritable(folder, failure) from None


def _check(folder: Path, force: bool) -> None:
    kind = kind_of(folder)
    if kind is None:
        check_parent(folder, _ANOTHER)
        return
    if kind not in ("a file", "a folder"):
        raise refused(folder, f"is {kind}, not a folder", _ANOTHER)
    if kind == "a folder":
        clean(real(folder))
        if _is_empty(folder):
            return
    if not (folder / RECIPE).is_file():
        raise refused(folder, "exists and is not a composition, so it is not replaced", _ANOTHER)
    if not force:
        raise refused(
            folder, "exists already", "replace it with --force, or choose another with -o"
        )


def _write(folder: Path, fill: Callable[[Path], None]) -> None:
    seen = identity_of(folder)
    empty = seen is not None and _is_empty(folder)
    made = _missing(folder.parent)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _room_for(folder) as place:
            place.new.mkdir()
            fill(place.new)
            flush(place.new)
            if not empty:
                put(place, folder, seen)
            elif place.path.parent == folder:
                put_into(place, folder, RECIPE)
            elif not put_onto_empty(place, folder):
                with room(folder, folder.name) as inner:
                    shutil.move(place.new, inner.new)
                    flush(inner.new)
                    put_into(inner, folder, RECIPE)
        made = []
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _room_for(folder: Path) -> Iterator[Room]:
    """Make a temporary folder next to a folder, or inside an empty one that can't be replaced."""
    is_empty = folder.is_dir() and _is_empty(folder)
    inside = is_empty and (os.path.ismount(folder) or folder == Path.cwd())
    with ExitStack() as stack:
        try:
            place = folder if inside else _nearest(folder.parent)
            made = stack.enter_context(room(place, folder.name))
        except OSError as failure:
            if not is_empty or failure.errno not in _CLOSED:
                raise
            made = stack.enter_context(room(folder, folder.name))
        yield made


def _is_empty(folder: Path) -> bool:
    """Return whether a folder is empty, apart from temporary folders of other writers."""
    return all(is_room(path.name) for path in folder.iterdir())


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or its nearest existing parent."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _missing(folder: Path) -> list[Path]:
    """Return the missing folders that this one needs, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]
