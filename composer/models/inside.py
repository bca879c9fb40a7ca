"""Whether a file of a composition is inside its folder, links followed; no other is read."""

from __future__ import annotations

from pathlib import Path

from composer.errors import ComposerError, Diagnostic


def is_inside(file: Path, folder: Path) -> bool:
    """Return whether a file is inside a folder after following every link.

    The cache of the Hub's client stores a snapshot as links to ``blobs`` beside it, which count
    as inside.
    """
    try:
        real, home = file.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # such as a circle of links
        return False
    roots = [home]
    if home.parent.name == "snapshots":
        roots.append(home.parent.parent / "blobs")
    return any(real.is_relative_to(root) for root in roots)


def check_inside(file: Path, folder: Path) -> None:
    """Refuse a file of a folder that links to a place outside; its target is not read.

    Raises:
        ComposerError: code ``outside``.
    """
    if file.is_symlink() and not is_inside(file, folder):
        raise ComposerError(
            Diagnostic(
                "outside",
                "this is a link to a file outside the folder, which is not read",
                "replace the link with the file itself",
                file=str(file),
            )
        )
