"""Pieces of Python: an expression with its precedence, and long lines broken as ruff does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from composer.visible import visible_line

WIDTH = 100

#: The precedence of an expression's parts.
CHOICE, COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = 1, 3, 5, 6, 7, 8, 9

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Code:
    """An expression, and its precedence."""

    text: str
    level: int = ATOM

    def at(self, level: int) -> str:
        """Return the text, in brackets inside something of higher precedence."""
        return self.text if self.level >= level else f"({self.text})"

    def __str__(self) -> str:
        return self.text


def literal(text: str) -> str:
    """Return a text as a Python string in double quotes."""
    inside = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible_line(inside)}"'


def prose(text: str) -> str:
    """Return a text on one line, safe inside a docstring."""
    inside = visible_line(" ".join(text.split())).replace("\\", "\\\\")
    return inside.replace('"', '\\"')


def binary(left: Code, sign: str, right: Code, level: int) -> Code:
    """Return ``left sign right``, left-associative."""
    return Code(f"{left.at(level)} {sign} {right.at(level + 1)}", level)


def broken(line: str, indent: int) -> Iterator[str]:
    """Yield a line as lines of at most `WIDTH` columns, if its brackets and signs allow it."""
    space = " " * indent
    if indent + len(line) <= WIDTH:
        yield f"{space}{line}"
        return
    start, value = _value_of(line)
    terms = _terms(value)
    if start and len(terms) > 2:
        yield f"{space}{start}("
        for term in terms:
            yield from broken(term, indent + 4)
        yield f"{space})"
        return
    if (where := _last_brackets(line, indent)) is None:
        yield f"{space}{line}"
        return
    opens, closes = where
    yield f"{space}{line[: opens + 1]}"
    yield from _inside(line[opens + 1 : closes].rstrip(), indent + 4)
    yield f"{space}{line[closes:]}"


def _inside(body: str, indent: int) -> Iterator[str]:
    """Yield the text between brackets."""
    parts = _parts(body)
    if len(body) + indent <= WIDTH and not body.endswith(","):
        yield " " * indent + body
    elif len(parts) > 1:
        for part in parts:
            yield from broken(f"{part},", indent)
    else:
        terms = _terms(body.rstrip(","))
        for term in terms:
            yield from broken(term, indent)


def _value_of(line: str) -> tuple[str, str]:
    """Return the start of a statement, such as ``gate = ``, and its value."""
    for begin in ("return ",):
        if line.startswith(begin):
            return begin, line[len(begin) :]
    found = re.match(r"[\w., ]+ = ", line)
    return (found[0], line[found.end() :]) if found else ("", line)


def _terms(text: str) -> list[str]:
    """Return an expression as its terms, each but the first with its sign: + -, else * /."""
    for signs in ((" + ", " - "), (" * ", " / ", " // ", " % ", " @ ")):
        depth, start, terms = 0, 0, []
        for place, letter in _outside_strings(text):
            depth += (letter in _OPENING) - (letter in _CLOSING)
            if not depth and place > start and text.startswith(signs, place):
                terms.append(text[start:place].strip())
                start = place
        if terms:
            return [*terms, text[start:].strip()]
    return [text]


def _last_brackets(line: str, indent: int) -> tuple[int, int] | None:
    """Return where the last pair of brackets opens and closes such that all around it fits."""
    found: list[tuple[int, int]] = []
    opened: list[int] = []
    for place, letter in _outside_strings(line):
        if letter in _OPENING:
            opened.append(place)
        elif letter in _CLOSING:
            start = opened.pop()
            if not opened and place > start + 1:
                found.append((start, place))
    fitting = (
        (start, end)
        for start, end in reversed(found)
        if indent + start < WIDTH and indent + len(line) - end <= WIDTH
    )
    return next(fitting, found[-1] if found else None)


def _parts(body: str) -> Sequence[str]:
    """Return the items between the commas of a bracket."""
    depth, start, parts = 0, 0, []
    for place, letter in _outside_strings(body):
        depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and not depth:
            parts.append(body[start:place].strip())
            start = place + 1
    last = body[start:].strip()
    return [*parts, last] if last else parts


def _outside_strings(line: str) -> Iterator[tuple[int, str]]:
    quote, escaped = "", False
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "\"'":
            quote = letter
        else:
            yield place, letter
