"""Patterns for module paths: an exact path, ``re:`` with a regular expression, or a glob."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_REGEX = "re:"


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that can't be read.

    Raises:
        ValueError: it is not a valid regular expression.
    """
    if pattern.startswith(_REGEX):
        try:
            re.compile(pattern.removeprefix(_REGEX))
        except re.error as failure:
            raise ValueError(f"{pattern!r} is not a valid regular expression: {failure}") from None


def selects(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a path: exactly, by regular expression, or as a glob."""
    if pattern == path:
        return True
    if pattern.startswith(_REGEX):
        return re.fullmatch(pattern.removeprefix(_REGEX), path) is not None
    return fnmatchcase(path, pattern)
