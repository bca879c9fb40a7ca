"""Where something can be added: blocks, stages, the stem, the head, or any module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from composer.analysis.parts import Anatomy, Part
from composer.language.position import Position
from composer.surgery.composition import At


@dataclass(frozen=True)
class Candidate:
    """A part, with the stage and the block that it is in, counted from 1.

    `position` is the one to use instead of the requested one, if it differs.
    """

    stage: int | None
    block: int | None
    part: Part
    position: Position | None = None


def candidates(known: Anatomy, at: At) -> Iterator[Candidate]:
    """Yield everything of a kind, in the order it runs."""
    if at == "stage":
        for stage in known.stages:
            yield Candidate(stage.number, None, stage.whole)
    elif at == "block":
        for stage in known.stages:
            for number, block in enumerate(stage.blocks, start=1):
                yield Candidate(stage.number, number, block)
        for other in known.others:
            yield Candidate(None, None, other)
    elif at == "stem":
        if (stem := known.stem) is not None:
            yield Candidate(None, None, stem)
        elif (first := known.entrance) is not None:  # no module outputs its input
            yield Candidate(None, None, first, Position("input"))
    elif at == "head":
        if (last := known.last) is not None:
            yield Candidate(None, None, last)
    else:
        for part in known.modules:
            stage_number, block_number = known.place_of(part.path)
            yield Candidate(stage_number, block_number, part)
