r"""Text that others wrote, with each character that does not show itself as its escape: ``\x1b``.

A title, a file name or another library's message may hold anything: sequences that a terminal
obeys, characters that turn what follows around, that have no width or that end a line. What goes
out to a reader passes here.
"""

from __future__ import annotations

import re
import unicodedata

#: Of Unicode's default ignorable characters those that are no format characters: they show nothing.
_BLANK = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff"
)
_SUSPECT = re.compile(rf"[^\x20-\x7e\xa0-\xac\xae-\u02ff]|[{_BLANK}]")
_BLANKS = re.compile(f"[{_BLANK}]")
#: Controls, format characters, surrogates, private ones, unassigned ones, and ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """Return a text of several lines in which every character shows; tabs and line feeds stay."""
    return _SUSPECT.sub(lambda found: _shown(found[0], "\n\t"), text)


def visible_line(text: str) -> str:
    r"""Return a text on one line in which every character shows; a line feed is ``\n``."""
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECT.sub(lambda found: _shown(found[0], ""), text)


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes whose characters all show."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _shown(char: str, kept: str) -> str:
    if char in kept:
        return char
    if unicodedata.category(char) in _UNSEEN or _BLANKS.match(char):
        return escaped(char)
    return char


def escaped(char: str) -> str:
    r"""Return the escape of a character, as in Python and YAML: ``\x1b``, ``\u202e``, ``\n``."""
    if char in "\n\t\r":
        return {"\n": r"\n", "\t": r"\t", "\r": r"\r"}[char]
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
