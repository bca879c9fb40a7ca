"""A file is written completely or not at all, and never replaces another by accident."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from composer.errors import ComposerError, Diagnostic
from composer.files.putting import CameMeanwhileError, UnconfirmedError, identity_of, put
from composer.files.room import flush, room

#: Other kinds of file, by the mode from `stat`.
_SPECIAL = (
    (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def check_file_free(path: Path, force: bool) -> None:
    """Refuse a file that can't be written, before any work is done.

    Raises:
        ComposerError: it exists and `force` is not set, it is not a file, or its folder is
            missing or not writable; with the way out.
    """
    try:
        _check(path, force)
        with room(real(path).parent, path.name):  # is the folder writable?
            pass
    except (OSError, ValueError) as failure:
        raise unwritable(path, failure) from None


def write_file(path: Path, write: Callable[[Path], object], *, force: bool = False) -> None:
    """Write a file in a temporary folder next to it, then rename it in one step.

    A link to a file is followed.

    Args:
        path: the file.
        write: writes it at the given path.
        force: whether an existing file is replaced; one created meanwhile never is.

    Raises:
        ComposerError: it can't be written; an existing one is unchanged.
    """
    try:
        _check(path, force)
        target = real(path)
        seen = identity_of(target)
        with room(target.parent, target.name) as made:
            write(made.new)
            flush(made.new)
            put(made, target, seen)
    except CameMeanwhileError:
        raise came_meanwhile(path) from None
    except UnconfirmedError as failure:
        raise unconfirmed(path, failure) from None
    except (OSError, ValueError) as failure:
        raise unwritable(path, failure) from None


def real(path: Path) -> Path:
    """Return the real path, with links followed."""
    return Path(os.path.realpath(path))


def kind_of(path: Path, wanted: Path | None = None) -> str | None:
    """Return the kind of a path in words: ``a file``, ``a folder``, ``a FIFO``; None for nothing.

    Args:
        path: the path.
        wanted: the path to be written, if the first path is a folder around it.

    Raises:
        ComposerError: a link leads nowhere, or in a circle.
        OSError: it can't be inspected.
    """
    whose = f"{path.name!r} " if wanted is not None else ""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            link = os.readlink(path)  # noqa: PTH115 - as it is written
            way_out = "create its target, remove the link, or choose another with -o"
            message = f"{whose}is a link to {link!r}, which does not exist"
            raise refused(wanted or path, message, way_out) from None
        return None
    except OSError as failure:
        if failure.errno == errno.ELOOP and not path.is_symlink():
            return None  # a folder around it is the link
        if failure.errno == errno.ELOOP:
            way_out = "remove the link, or choose another with -o"
            message = f"{whose}is a link that leads to itself"
            raise refused(wanted or path, message, way_out) from None
        raise
    if stat.S_ISDIR(mode):
        return "a folder"
    return next((word for is_it, word in _SPECIAL if is_it(mode)), "a file")


def check_parent(path: Path, way_out: str) -> None:
    """Refuse a path with a file in place of a folder.

    Raises:
        ComposerError: with the way out.
        OSError: it can't be inspected.
    """
    above = next((one for one in path.absolute().parents if os.path.lexists(one)), None)
    if above is not None and (kind := kind_of(above, path)) not in (None, "a folder"):
        raise refused(path, f"{above.name!r} is {kind}, not a folder", way_out)


def refused(path: Path, message: str, way_out: str) -> ComposerError:
    """Return the error for a path that can't be written."""
    return ComposerError(Diagnostic("output", message, way_out, file=str(path)))


def unwritable(path: Path, failure: OSError | ValueError) -> ComposerError:
    """Return the error for a system error while writing at a path."""
    said = (failure.strerror if isinstance(failure, OSError) else None) or failure
    return refused(path, f"cannot be written: {said}", "choose another with -o")


def came_meanwhile(path: Path) -> ComposerError:
    """Return the error for a path that another process wrote at the same time."""
    return refused(
        path, "another was created here while this was written, and is kept",
        "check it; replace it with --force, or choose another with -o",
    )  # fmt: skip


def unconfirmed(path: Path, failure: UnconfirmedError) -> ComposerError:
    """Return the error for a written file that the disk failed to confirm."""
    return refused(
        path, f"is written, but the disk has not confirmed its name: {failure}",
        "check the disk, and write it again",
    )  # fmt: skip


def _check(path: Path, force: bool) -> None:
    kind = kind_of(path)
    if kind == "a folder":
        raise refused(path, "is a folder", "choose a file with -o")
    if kind not in (None, "a file"):
        raise refused(path, f"is {kind}, not a file", "choose a file with -o")
    if kind is not None and not force:
        raise refused(path, "exists already", "replace it with --force, or choose another with -o")
    check_parent(path, "choose another file")
    if not path.absolute().parent.is_dir():
        raise refused(
            path, "its folder does not exist", "create the folder, or choose another file"
        )
