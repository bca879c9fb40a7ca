"""One diagnostic type for every message a user can meet: where, what, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from composer.visible import columns, visible_line

SHOWN = 120  # characters of a source line shown in a message
MOST_SLIPS = 2  # typing errors between a word and the intended one
SUGGESTED = 3  # suggestions in a message, among words that are equally near

_JOINTS = str.maketrans("", "", "_- ")

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Location:
    """A stretch of one line of a file; line and column count from 1."""

    file: str
    line: int
    column: int
    length: int
    text: str

    def render(self) -> str:
        """Return the source line with carets under the stretch; a long line is cut around it.

        Invisible characters are shown as escapes, and the carets span the escape.
        """
        line, column = self.text.replace("\t", " "), self.column
        if len(line) > SHOWN:
            start = max(0, min(column - 1 - SHOWN // 3, len(line) - SHOWN))
            end = start + SHOWN
            head, tail = "…" if start else "", "…" if end < len(line) else ""
            line, column = f"{head}{line[start:end]}{tail}", column - start + len(head)
        before, under = line[: column - 1], line[column - 1 : column - 1 + max(1, self.length)]
        space = " " * columns(visible_line(before))
        carets = "^" * max(1, columns(visible_line(under)))
        return f"{self.line:>5} | {visible_line(line)}\n{'':>5} | {space}{carets}"


@dataclass(frozen=True)
class Diagnostic:
    """What is wrong (or odd), where, and the way out."""

    code: str
    message: str
    help: str | None = None
    where: Location | None = None
    file: str | None = None
    severity: Severity = "error"

    def render(self) -> str:
        """Return the text a person reads, over one or more lines.

        Every character is visible: invisible ones in names and in other libraries' texts are
        escaped.
        """
        if self.where is not None:
            place = f"{self.where.file}:{self.where.line}:{self.where.column}: "
        else:
            place = f"{self.file}: " if self.file else ""
        lines = [visible_line(f"{place}{self.severity}[{self.code}]: {self.message}")]
        if self.where is not None:
            lines.append(self.where.render())
        if self.help:
            lines.append(visible_line(f"  help: {self.help}"))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return a plain dictionary for ``--json``."""
        return asdict(self)


class ComposerError(Exception):
    """The spec or the model is at fault; carries every diagnostic found (exit status 1)."""

    exit_code = 1

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        if isinstance(diagnostics, Diagnostic):
            diagnostics = (diagnostics,)
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(d.render() for d in self.diagnostics))


class UsageError(ComposerError):
    """The command line or the call was used wrongly (exit status 2)."""

    exit_code = 2


class MissingPartError(ComposerError):
    """An optional dependency is not installed (exit status 3)."""

    exit_code = 3


class UnknownOriginWarning(UserWarning):
    """It is not known how the model that is edited was built, so its recipe cannot rebuild it."""


def error(code: str, message: str, help: str | None = None) -> ComposerError:  # noqa: A002
    """Return a `ComposerError` with one diagnostic that has no location in a file."""
    return ComposerError(Diagnostic(code, message, help))


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the nearest known words, or None where none is near.

    A word is near if it is one typing error away, or two for a longer word. Only the nearest words
    are suggested: a wrong suggestion is worse than none.
    """
    words = list(dict.fromkeys(known))
    near: list[str] = []
    least = MOST_SLIPS
    for other in words:
        found = slips(word, other, least)
        if found is None or found > allowed_slips(word, other):
            continue
        if found < least:
            near.clear()
        near.append(other)
        least = found
    if not near:
        return None
    return f"did you mean {listing([repr(n) for n in near[:SUGGESTED]], last='or')}?"


def plain(word: str) -> str:
    """Return a word without the variants of its spelling: case, ``_``, ``-`` and spaces."""
    return word.casefold().translate(_JOINTS)


def allowed_slips(word: str, other: str) -> int:
    """Return how many typing errors may separate two words if one stands for the other."""
    a, b = plain(word), plain(other)
    short, long = sorted((len(a), len(b)))
    if long < 3:
        return 0  # every other name of one letter would be near
    return 1 if short < 6 or a[:1] != b[:1] else MOST_SLIPS  # vit_base is not davit_base


def slips(word: str, other: str, most: int) -> int | None:
    """Return how many letters are wrong, missing, extra or swapped; None if more than `most`."""
    a, b = plain(word), plain(other)
    if abs(len(a) - len(b)) > most:
        return None
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, row, two = row, [i], before
        before = last
        for j, counterpart in enumerate(b, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != counterpart))
            if i > 1 < j and letter == b[j - 2] and counterpart == a[i - 2]:
                cost = min(cost, two[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return None
    return row[-1] if row[-1] <= most else None


def suggestion(word: str, known: Sequence[str], label: str) -> str:
    """Return the way out for an unknown word: near words, then all known ones."""
    all_of_them = f"{label}: {', '.join(known)}" if known else f"{label}: none"
    near = did_you_mean(word, known)
    return f"{near} {all_of_them}" if near else all_of_them


def listing(words: Sequence[str], last: str = "and") -> str:
    """Join words as prose does: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural if needed: ``3 sites``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def in_order_of_text(problems: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return the problems in the order of the text, each once; file-wide ones come first."""

    def place(problem: Diagnostic) -> tuple[int, int]:
        return (problem.where.line, problem.where.column) if problem.where else (0, 0)

    return tuple(sorted(dict.fromkeys(problems), key=place))
