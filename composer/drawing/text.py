"""How wide a text is, and what of it can be shown.

Widths are those of Helvetica, which Arial, Liberation Sans and Arimo share.
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from importlib.resources import files

#: Named in every picture, so that one of them is there on any machine; all are equally wide.
FONTS = "Helvetica, Arial, 'Liberation Sans', Arimo, sans-serif"

_UNITS = 2048  # of an em


def width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a text in points at a size in points.

    A character that the font has not counts as wide as it is high, as those of other scripts are
    at most.
    """
    widths = _widths()["bold" if bold else "regular"]
    return sum(widths.get(char, _UNITS) for char in text) * size / _UNITS


def shown(text: str) -> str:
    """Return a text on one line, with characters that are not seen, or that turn others, told.

    A name may hold anything: a control character, or one that turns the text behind it around,
    stands as its number (``<U+202E>``).
    """
    line = " ".join(text.split())
    if line.isprintable():  # a character of the kinds below is not
        return line
    return "".join(map(_visible, line))


def shown_lines(text: str) -> str:
    """Return a text of many lines with its spaces, and each such character told as in `shown`."""
    lines = text.expandtabs().splitlines()
    return "\n".join("".join(_visible(char) for char in line) for line in lines)


def cut(text: str, most: int = 60) -> str:
    """Return a text of so many characters at the most; an ellipsis stands for what is left out."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def in_font(text: str) -> str:
    """Return a text whose characters the font has; of others the number stands there."""
    known = _widths()["regular"]
    return "".join(c if c in known else numbered(c) for c in text)


def numbered(char: str) -> str:
    """Return what stands for a character that can't be shown: ``<U+1F600>``."""
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
