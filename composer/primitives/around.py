"""How an op treats the spatial axes of a map: which of them it works on, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def partly(axes: Iterable[str] | None, places: Sequence[str]) -> bool:
    """Return whether some but not all spatial axes are among the axes."""
    return 0 < len(set(axes or ()) & set(places)) < len(places)


def in_parts(axes: Sequence[str], places: Sequence[str]) -> bool:
    """Return whether spatial axes are among the axes, other than all of them in row-major order."""
    found = [place for place, axis in enumerate(axes) if axis in places]
    return bool(found) and tuple(axes[found[0] : found[0] + len(places)]) != tuple(places)
