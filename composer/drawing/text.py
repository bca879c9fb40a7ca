"""The width of a text, and its displayable form.

Widths are those of Helvetica, which Arial, Liberation Sans and Arimo share.
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from importlib.resources import files

#: Listed in every picture, so that any machine has one of them; all have the same widths.
FONTS = "Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif"

_UNITS = 2048  # of an em


def width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a text in points at a size in points.

    A character missing in the font counts as wide as it is high, the most for other scripts.
    """
    widths = _widths()["bold" if bold else "regular"]
    return sum(widths.get(char, _UNITS) for char in text) * size / _UNITS


def shown(text: str) -> str:
    """Return a text on one line, with invisible and bidirectional characters as numbers.

    A name may contain anything: a control character, or one that reverses the following text,
    becomes its number (``<U+202E>``).
    """
    line = " ".join(text.split())
    if line.isprintable():  # a character of the kinds below is not
        return line
    return "".join(map(_visible, line))


def shown_lines(text: str) -> str:
    """Return a text of many lines with its spaces, and such characters as in `shown`."""
    lines = text.expandtabs().splitlines()
    return "\n".join("".join(_visible(char) for char in line) for line in lines)


def cut(text: str, most: int = 60) -> str:
    """Return a text of at most this many characters; an ellipsis marks the omitted end."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def in_font(text: str) -> str:
    """Return a text with only characters of the font; others become their numbers."""
    known = _widths()["regular"]
    return "".join(c if c in known else numbered(c) for c in text)


def numbered(char: str) -> str:
    """Return the number of a character that can't be shown: ``<U+1F600>``."""
    return f"<U+{ord(char):04X}>"


def _visible(char: str) -> str:
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") and char != "\u200d":
        return numbered(char)
    return char


@cache
def _widths() -> dict[str, dict[str, int]]:
    found = files("composer.drawing").joinpath("fonts", "widths.json").read_text(encoding="utf-8")
    widths: dict[str, dict[str, int]] = json.loads(found)
    return widths
