"""Python as a format of `composer.export`: a model with its weights beside it, or one class."""

from __future__ import annotations

from pathlib import Path

from composer.exporting.made import Made
from composer.exporting.proof import UnprovenError, refused
from composer.exporting.python.check import OPENING, in_float64, proven
from composer.exporting.python.mechanism import alone, source_of
from composer.exporting.python.model import write_python
from composer.exporting.subject import Subject


def check() -> None:
    """Check nothing: torch is all that is needed."""


def to_python(subject: Subject, file: Path) -> Made:
    """Write a composed model and its weights, or a mechanism as a class.

    Raises:
        ComposerError: it has no plain form, or its outputs differ.
    """
    if subject.spec is None:
        return write_python(subject.model, file).made
    assert subject.settings is not None
    made = alone(subject.spec, subject.settings)
    file.write_text(source_of(made), encoding="utf-8")
    known = made.samples.asked.known
    arguments = ", ".join(f"{word}={known[n]!r}" for n, word in made.arguments.items())
    moved = in_float64(subject, file)
    try:
        found = proven(moved, file, OPENING.format(make=f"{made.name}({arguments})"))
    except UnprovenError as failure:
        raise refused(subject, "python", str(failure), "export to pt2 or onnx") from None
    file.with_suffix(".safetensors").unlink()
    return found
