"""Which module paths are meant: one itself, ``re:`` and a regular expression, or a glob."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_REGEX = "re:"


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that can't be read.

    Raises:
        ValueError: it is no regular expression.
    """
    if pattern.startswith(_REGEX):
        try:
            re.compile(pattern.removeprefix(_REGEX))
        except re.error as failure:
            raise ValueError(f"{pattern!r} is no regular expression: {failure}") from None


def selects(pattern: str, path: str) -> bool:
    """Return whether a pattern means a path: exactly, else by its expression, else as a glob."""
    if pattern == path:
        return True
    if pattern.startswith(_REGEX):
        return re.fullmatch(pattern.removeprefix(_REGEX), path) is not None
    return fnmatchcase(path, pattern)
