r"""Text from outside, with every invisible character written as its escape: ``\x1b``.

A title, a file name or another library's message may hold anything: terminal escape sequences,
characters that reverse the direction of the text, have no width, or end a line. All text for a
reader passes through here.
"""

from __future__ import annotations

import re
import unicodedata

#: Unicode's default ignorable characters that are not format characters: they show nothing.
_BLANK = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff"
)
_SUSPECT = re.compile(rf"[^\x20-\x7e\xa0-\xac\xae-\u02ff]|[{_BLANK}]")
_BLANKS = re.compile(f"[{_BLANK}]")
#: Controls, format characters, surrogates, private use, unassigned, and line ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """Return a multi-line text in which every character is visible; tabs and line feeds stay."""
    return _SUSPECT.sub(lambda found: _shown(found[0], "\n\t"), text)


def visible_line(text: str) -> str:
    r"""Return a text on one line in which every character is visible; a line feed is ``\n``."""
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECT.sub(lambda found: _shown(found[0], ""), text)


def columns(text: str) -> int:
    """Return the width in terminal columns of a text whose characters are all visible."""
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
