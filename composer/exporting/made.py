"""A file made of a program: with as many open axes as it and the model bear, and proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.export import ExportedProgram

from composer.errors import ComposerError, listing
from composer.exporting.program import open_axes, program_of
from composer.exporting.proof import (
    UnprovenError,
    cases_of,
    difference,
    first_line,
    named,
    refused,
)
from composer.exporting.subject import WORDS, Subject

#: Writes a program to a file, given the axes that are open in it and the symbol of each.
Writer = Callable[[ExportedProgram, Mapping[str, str], Path], None]


@dataclass(frozen=True)
class Made:
    """What a file was found to be.

    Attributes:
        difference: the largest between what it gives and what the model gives.
        dynamic: the axes that may have any size.
        fixed: for each axis of batch and map that may not: why.
    """

    difference: float
    dynamic: tuple[str, ...]
    fixed: Mapping[str, str]


class CantBeWrittenError(Exception):
    """A program that a format has no words for; its words say which operator."""


def made(subject: Subject, file: Path, format_: str, write: Writer, opening: str) -> Made:
    """Write a program and run it beside the model, with the batch and the map open if that holds.

    Where it fails so, the map is fixed at the size of the inputs, and then the batch, too.

    Args:
        subject: what is exported.
        file: where to.
        format_: what the format is called in messages.
        write: see `Writer`.
        opening: see `proof.difference`.

    Raises:
        ComposerError: it can't be written, or does not give what the model gives.
    """
    sized = tuple(subject.sized)
    fixed: dict[str, str] = {}
    rungs = [("b", *sized), ("b",), ()] if sized else [("b",), ()]
    for number, wanted in enumerate(rungs):
        try:
            program = program_of(subject, wanted)
            found = open_axes(program, subject)
            write(program, found, file)
            largest = difference(subject, file, opening, cases_of(subject, tuple(found)))
        except CantBeWrittenError as failure:
            why = str(failure)
        except UnprovenError as failure:
            why = str(failure)
        except ComposerError:
            raise
        except Exception as failure:  # of torch and its backends, of every kind
            why = first_line(failure)
        else:
            for axis in ("b", *sized):
                if axis not in found:
                    fixed.setdefault(WORDS[axis], _alone(subject, axis))
            return Made(largest, named(tuple(found)), fixed)
        if number == len(rungs) - 1:
            raise refused(subject, format_, why, "the other formats may do: see docs/export.md")
        for axis in set(wanted) - set(rungs[number + 1]):
            fixed[WORDS[axis]] = why
    raise AssertionError("every rung returns or raises")


def _alone(subject: Subject, axis: str) -> str:
    """Return why an axis that was to be open is not, where nothing failed."""
    size = 1 if axis == "b" else subject.sized[axis]
    return f"its operators hold for {WORDS[axis]} {size} alone"


def told(fixed: Mapping[str, str]) -> list[str]:
    """Return the axes that are fixed, those with the same reason together."""
    together: dict[str, list[str]] = {}
    for axis, why in fixed.items():
        together.setdefault(why, []).append(axis)
    return [f"{listing(axes)}: {why}" for why, axes in together.items()]
