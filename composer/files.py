"""A file is written whole or not at all, and never over another by accident."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from composer.errors import ComposerError, Diagnostic


def check_file_free(path: Path, force: bool) -> None:
    """Refuse a file that exists, unless `force` is said, or whose folder is missing.

    Raises:
        ComposerError: with the way out.
    """
    try:
        is_folder, is_there = path.is_dir(), path.exists()
        has_folder = path.absolute().parent.is_dir()
    except OSError as failure:  # such as a name too long
        raise _unwritable(path, failure) from None
    if is_folder:
        raise _refused(path, "is a folder", "name a file with -o")
    if is_there and not force:
        raise _refused(path, "exists already", "replace it with --force, or name another with -o")
    if not has_folder:
        raise _refused(path, "its folder does not exist", "make the folder, or name another file")


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a name of its own beside it, which is then renamed.

    Args:
        path: the file.
        write: writes it at the path that it is given.

    Raises:
        ComposerError: it can't be written; an old one is as it was.
    """
    temporary = path.with_name(f".composer-{uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as failure:
        raise _unwritable(path, failure) from None
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(path: Path, failure: OSError) -> ComposerError:
    said = failure.strerror or failure
    return _refused(path, f"cannot be written: {said}", "name another with -o")


def _refused(path: Path, message: str, way_out: str) -> ComposerError:
    return ComposerError(Diagnostic("output", message, way_out, file=str(path)))
