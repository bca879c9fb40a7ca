"""Pieces of Python: an expression with its precedence, and long lines broken as ruff does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH = 100

#: How strongly the parts of an expression hold together.
CHOICE, COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = 1, 3, 5, 6, 7, 8, 9

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Code:
    """An expression, and how strongly it holds together."""

    text: str
    level: int = ATOM

    def at(self, level: int) -> str:
        """Return the text, in brackets where it stands in something that holds more strongly."""
        return self.text if self.level >= level else f"({self.text})"

    def __str__(self) -> str:
        return self.text


def binary(left: Code, sign: str, right: Code, level: int) -> Code:
    """Return ``left sign right``, which goes from left to right."""
    return Code(f"{left.at(level)} {sign} {right.at(level + 1)}", level)


def broken(line: str, indent: int) -> Iterator[str]:
    """Yield a line as lines of at most `WIDTH` columns where its brackets allow that."""
    space = " " * indent
    if indent + len(line) <= WIDTH or (where := _last_brackets(line)) is None:
        yield f"{space}{line}"
        return
    start, end = where
    head, body, tail = line[: start + 1], line[start + 1 : end].rstrip(), line[end:]
    parts = _parts(body)
    yield f"{space}{head}"
    one_line = len(body) + indent + 4 <= WIDTH and not body.endswith(",")
    if one_line or len(parts) < 2:
        yield from broken(body.rstrip(","), indent + 4)
    else:
        for part in parts:
            yield from broken(f"{part},", indent + 4)
    yield f"{space}{tail}"


def _last_brackets(line: str) -> tuple[int, int] | None:
    """Return where the last pair of brackets that stands in no other opens and closes.

    A pair that is followed by more than a few signs would leave too much after it.
    """
    found, opened = None, []
    for place, letter in _outside_strings(line):
        if letter in _OPENING:
            opened.append(place)
        elif letter in _CLOSING:
            start = opened.pop()
            if not opened and place > start + 1:
                found = (start, place)
    return found


def _parts(body: str) -> Sequence[str]:
    """Return what stands between the commas of a bracket."""
    depth, start, parts = 0, 0, []
    for place, letter in _outside_strings(body):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and not depth:
            parts.append(body[start:place].strip())
            start = place + 1
    last = body[start:].strip()
    return [*parts, last] if last else parts


def _outside_strings(line: str) -> Iterator[tuple[int, str]]:
    quote = ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        else:
            yield place, letter
