"""What an op says of the places of a map: which of their axes it works on, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def partly(axes: Iterable[str] | None, places: Sequence[str]) -> bool:
    """Return whether some places are among the axes, and not all: then rows and columns differ."""
    return 0 < len(set(axes or ()) & set(places)) < len(places)


def in_parts(axes: Sequence[str], places: Sequence[str]) -> bool:
    """Return whether rows or columns are among the axes, and not all places row by row."""
    found = [place for place, axis in enumerate(axes) if axis in places]
    return bool(found) and tuple(axes[found[0] : found[0] + len(places)]) != tuple(places)
