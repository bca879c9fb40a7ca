"""The size of a box and its text before layout; all in points."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from composer.drawing.diagram import Box, Group, Link
from composer.drawing.text import cut, shown, width

Ink = Literal["text", "faint", "problem", "badge"]

TITLE, LINE, SMALL = 10.0, 8.5, 7.5
LEADING = 1.28
PAD_X, PAD_Y = 9.0, 6.0
#: How much wider than estimated texts may be in a substitute font.
SLACK = 1.04
SIGN = 20.0  # the diameter of a circle with a sign in it
MOST_LETTERS = 64
LETTERS_OF_A_PROBLEM = 44
_BADGE = 22.0  # the padding of a badge around its text, with its sign on both sides
_FEWEST = 20  # least characters per line, however narrow


@dataclass(frozen=True)
class Row:
    """One line of text: its font size, and its baseline below the top of the box."""

    text: str
    size: float
    ink: Ink
    bold: bool
    baseline: float


@dataclass(frozen=True)
class Frame:
    """The size of a box and the rows in it; a `sign` is a circle."""

    width: float
    height: float
    rows: tuple[Row, ...]
    sign: bool = False


def frame_of(box: Box) -> Frame:
    """Return the size of a box, wide enough for each of its rows."""
    sign = shown(box.title)
    if len(sign) == 1 and not (box.lines or box.small or box.badges or box.problems):
        row = Row(sign, TITLE + 3, "text", True, SIGN / 2 + TITLE * 0.42)
        return Frame(SIGN, SIGN, (row,), sign=True)
    written: list[tuple[str, float, Ink, bool]] = []
    if box.title:
        written.append((_line(box.title), TITLE, "text", True))
    written += [(_line(text), LINE, "text", False) for text in box.lines]
    written += [(_line(text), SMALL, "faint", False) for text in box.small]
    written += [(_line(text), LINE, "badge", True) for text in box.badges]
    for problem in box.problems:
        written += [(text, SMALL, "problem", False) for text in folded(problem)]
    return _stacked(written)


def heading_of(group: Group, room: float | None = None) -> Frame:
    """Return the size of the heading of an open group, wrapped if it has less room."""
    written: list[tuple[str, float, Ink, bool]] = [(_line(group.title), LINE, "text", True)]
    written += [(_line(text), SMALL, "faint", False) for text in group.small]
    if room is not None:
        written = [
            (line, size, ink, bold) for text, size, ink, bold in written
            for line in fitted(text, size, bold, room - 4.0, fewest=1)
        ]  # fmt: skip
    return _stacked(written, pad_x=2.0, pad_y=1.0)


def label_of(link: Link) -> Frame:
    """Return the size of a link's label."""
    return label_frame(link.label)


def label_frame(lines: tuple[str, ...]) -> Frame:
    """Return the size of lines beside a link."""
    return _stacked([(_line(t), SMALL, "faint", False) for t in lines], pad_x=5.0, pad_y=1.0)


def folded(text: str, letters: int = LETTERS_OF_A_PROBLEM, whole_words: bool = False) -> list[str]:
    """Return a text in lines of at most this many characters; a long word is broken or kept."""
    lines = textwrap.wrap(
        shown(text), letters, break_on_hyphens=False, break_long_words=not whole_words
    )
    return lines or [""]


def fitted(text: str, size: float, bold: bool, room: float, fewest: int = _FEWEST) -> list[str]:
    """Return a text in lines that are no wider than the room, where words allow it.

    A word is broken only if it has more than `fewest` characters and does not fit.
    """
    longest = max(map(len, shown(text).split()), default=1)
    fewest = max(fewest, min(longest, _FEWEST))
    letters = max(len(shown(text)), 1)
    lines = folded(text, letters)
    while letters > fewest and any(width(line, size, bold) * SLACK > room for line in lines):
        letters -= 1
        lines = folded(text, letters)
    return lines


def _line(text: str) -> str:
    return cut(shown(text), MOST_LETTERS)


def _stacked(
    written: list[tuple[str, float, Ink, bool]], pad_x: float = PAD_X, pad_y: float = PAD_Y
) -> Frame:
    rows: list[Row] = []
    widest, y = 0.0, pad_y
    for text, size, ink, bold in written:
        gap = 3.0 if ink == "badge" else 0.0
        rows.append(Row(text, size, ink, bold, y + gap + size * 0.93))
        y += size * LEADING + 2 * gap
        widest = max(widest, width(text, size, bold) * SLACK + (_BADGE if ink == "badge" else 0.0))
    return Frame(round(widest + 2 * pad_x, 1), round(y + pad_y, 1), tuple(rows))
