"""A file is written whole or not at all, and never over another by accident."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from composer.errors import ComposerError, Diagnostic


def check_file_free(path: Path, force: bool) -> None:
    """Refuse a file that exists, unless `force` is said, or whose folder is missing.

    Raises:
        ComposerError: with the way out.
    """
    if path.is_dir():
        raise _refused(path, "is a folder", "name a file with -o")
    if path.exists() and not force:
        raise _refused(path, "exists already", "replace it with --force, or name another with -o")
    if not path.absolute().parent.is_dir():
        raise _refused(path, "its folder does not exist", "make the folder, or name another file")


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside it, which is then renamed.

    Args:
        path: the file.
        write: writes it at the path that it is given.

    Raises:
        ComposerError: it can't be written; an old one is as it was.
    """
    temporary = path.with_name(f".{path.name[:200]}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as failure:
        said = failure.strerror or failure
        raise _refused(path, f"cannot be written: {said}", "name another with -o") from None
    finally:
        temporary.unlink(missing_ok=True)


def _refused(path: Path, message: str, way_out: str) -> ComposerError:
    return ComposerError(Diagnostic("output", message, way_out, file=str(path)))
