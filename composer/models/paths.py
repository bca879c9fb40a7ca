"""Where a file lies that a MODEL string names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def look_for(where: str, beside: Path | None, suits: Callable[[Path], bool]) -> Path | None:
    """Return the first path that suits: as it is written, then from `beside` upwards."""
    above = [] if beside is None else [beside.resolve(), *beside.resolve().parents]
    return next((p for folder in (Path(), *above) if suits(p := folder / where)), None)


def looked(beside: Path | None) -> str:
    """Say where it was looked for, where that was not in the current folder alone."""
    return "" if beside is None else f", neither here nor from {beside} upwards"
