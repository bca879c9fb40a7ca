"""The location of a file that a MODEL string names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def look_for(where: str, beside: Path | None, suits: Callable[[Path], bool]) -> Path | None:
    """Return the first path that exists: as written, then from `beside` upwards."""
    above = [] if beside is None else [beside.resolve(), *beside.resolve().parents]
    return next((p for folder in (Path(), *above) if suits(p := folder / where)), None)


def looked(beside: Path | None) -> str:
    """Return where it was searched, if not only in the current folder."""
    return "" if beside is None else f", neither here nor from {beside} upwards"
