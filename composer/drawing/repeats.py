"""Repeats in a row of parts: equal ones, alternating patterns, and similar ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from composer.drawing.outline import DrawnPart

#: Longest pattern, such as a block with an insertion and one without.
LONGEST_PATTERN = 8


@dataclass(frozen=True)
class Run:
    """Consecutive parts: a pattern, repeated `times` times."""

    parts: tuple[DrawnPart, ...]
    times: int

    @property
    def pattern(self) -> tuple[DrawnPart, ...]:
        """The repeated parts."""
        return self.parts[: len(self.parts) // self.times]


def runs(parts: Sequence[DrawnPart]) -> Iterator[Run]:
    """Yield parts in runs, each the longest of equal parts, or of a pattern of them."""
    at = 0
    while at < len(parts):
        best = Run(tuple(parts[at : at + 1]), 1)
        for length in range(1, min(LONGEST_PATTERN, (len(parts) - at) // 2) + 1):
            pattern = parts[at : at + length]
            end = at + length
            while parts[end : end + length] == pattern:
                end += length
            if end - at > max(length, len(best.parts)):
                best = Run(tuple(parts[at:end]), (end - at) // length)
        yield best
        at += len(best.parts)


def likeness(run: Run) -> tuple[object, ...]:
    """Return what similar parts have in common: their class, and their insertions."""
    part = run.parts[0]
    inserted = tuple((one.spec, one.where) for one in part.inserted)
    return (part.path,) if len(run.pattern) > 1 else (part.kind, part.is_block, inserted)
