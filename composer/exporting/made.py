"""A file made from a program: verified, with as many dynamic axes as possible."""

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

#: Writes a program to a file, given its dynamic axes and their symbols.
Writer = Callable[[ExportedProgram, Mapping[str, str], Path], None]


@dataclass(frozen=True)
class Made:
    """The properties of a file, as verified.

    Attributes:
        difference: the largest between its outputs and the model's.
        dynamic: the axes that may have any size.
        fixed: the reason for each axis of batch and map that is fixed.
    """

    difference: float
    dynamic: tuple[str, ...]
    fixed: Mapping[str, str]


class CantBeWrittenError(Exception):
    """A program that a format can't express; the message names the operator."""


def made(subject: Subject, file: Path, format_: str, write: Writer, opening: str) -> Made:
    """Write a program and compare it with the model, with dynamic batch and map if that works.

    Where it fails, the map is fixed at the size of the inputs, and then also the batch.

    Args:
        subject: what is exported.
        file: the file to write.
        format_: the format's name in messages.
        write: see `Writer`.
        opening: see `proof.difference`.

    Raises:
        ComposerError: it can't be written, or its outputs differ from the model's.
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
        except Exception as failure:  # torch and its backends raise any kind
            why = first_line(failure)
        else:
            for axis in ("b", *sized):
                if axis not in found:
                    fixed.setdefault(WORDS[axis], _alone(subject, axis))
            return Made(largest, named(tuple(found)), fixed)
        if number == len(rungs) - 1:
            raise refused(subject, format_, why, "try another format: see docs/export.md")
        for axis in set(wanted) - set(rungs[number + 1]):
            fixed[WORDS[axis]] = why
    raise AssertionError("every rung returns or raises")


def _alone(subject: Subject, axis: str) -> str:
    """Return why an axis is fixed although nothing failed."""
    size = 1 if axis == "b" else subject.sized[axis]
    return f"its operators require {WORDS[axis]} {size}"


def told(fixed: Mapping[str, str]) -> list[str]:
    """Return the fixed axes, grouped by reason."""
    together: dict[str, list[str]] = {}
    for axis, why in fixed.items():
        together.setdefault(why, []).append(axis)
    return [f"{listing(axes)}: {why}" for why, axes in together.items()]
