"""Python as a format of `composer.export`: a model with its weights beside, or one class."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch

from composer.exporting.made import Made
from composer.exporting.proof import UnprovenError, cases_of, difference, named, refused
from composer.exporting.python.check import move
from composer.exporting.python.mechanism import alone, source_of
from composer.exporting.python.model import write_python
from composer.exporting.subject import WORDS, Subject
from composer.files import write_file

#: Python that makes ``call`` of ``file``; see `composer.exporting.proof`.
_OPENING = """
import importlib.util
spec = importlib.util.spec_from_file_location("exported", file)
exported = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)
net = exported.{name}({arguments}).double().eval()
net.load_state_dict(torch.load({weights!r}, weights_only=True))


def call(args, kwargs):
    return net(*args, **kwargs)
"""


def check() -> None:
    """Find nothing missing: torch is all that it takes."""


def to_python(subject: Subject, file: Path) -> Made:
    """Write a composed model and its weights, or a mechanism as a class.

    Raises:
        ComposerError: it has no plain form, or gives other numbers.
    """
    if subject.spec is None:
        return Made(write_python(subject.model, file).difference, named(subject.axes), {})
    assert subject.settings is not None
    made = alone(subject.spec, subject.settings)
    write_file(file, lambda place: place.write_text(source_of(made), encoding="utf-8"))
    known = made.samples.asked.known
    arguments = ", ".join(f"{word}={known[n]!r}" for n, word in made.arguments.items())
    twin = copy.deepcopy(subject.model).double()
    move(twin)
    moved = replace(subject, model=twin, inputs=subject.inputs.on(twin))
    weights = file.with_name("weights.pt")
    torch.save(twin.state_dict(), weights)
    opening = _OPENING.format(name=made.name, arguments=arguments, weights=str(weights))
    fixed: dict[str, str] = {}
    for opened in (("b", *subject.sized), ("b",)):
        try:
            largest = difference(moved, file, opening, cases_of(moved, opened))
        except UnprovenError as failure:
            if opened == ("b",):
                raise refused(subject, "python", str(failure), "export to pt2 or onnx") from None
            fixed |= {WORDS[axis]: str(failure) for axis in subject.sized}
        else:
            weights.unlink()
            return Made(largest, named(opened), fixed)
    raise AssertionError("the last one returns or raises")
