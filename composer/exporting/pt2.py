"""`torch.export`'s own file: a program of torch's operators with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from composer.exporting.made import Made, made
from composer.exporting.subject import Subject

#: Python that defines ``call`` from ``file``; see `composer.exporting.proof`.
OPENING = """
program = torch.export.load(file).module()


def call(args, kwargs):
    return program(*args, **kwargs)
"""


def check() -> None:
    """Check nothing: torch is all that is needed."""


def to_pt2(subject: Subject, file: Path) -> Made:
    """Write a model as `torch.export.save` does.

    Raises:
        ComposerError: its forward is not a single graph, or the outputs differ.
    """
    return made(subject, file, "pt2", _write, OPENING)


def _write(program: ExportedProgram, _: Mapping[str, str], file: Path) -> None:
    torch.export.save(program, file)
