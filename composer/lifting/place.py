"""A line of Python's source as the place that a message shows."""

from __future__ import annotations

import linecache

from composer.errors import Location


def location(file: str, line: int) -> Location:
    """Return a line of a file, with what stands on it."""
    text = linecache.getline(file, line).rstrip("\n")
    begun = len(text) - len(text.lstrip())
    return Location(file, line, begun + 1, max(1, len(text) - begun), text)
