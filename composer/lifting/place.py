"""A line of Python source as the location in a message."""

from __future__ import annotations

import linecache

from composer.errors import Location


def location(file: str, line: int) -> Location:
    """Return a line of a file, with its text."""
    text = linecache.getline(file, line).rstrip("\n")
    begun = len(text) - len(text.lstrip())
    return Location(file, line, begun + 1, max(1, len(text) - begun), text)
