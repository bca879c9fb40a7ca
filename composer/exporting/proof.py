"""The verification of a file: a fresh process, which can't import Composer, runs it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from composer.errors import ComposerError, Diagnostic
from composer.exporting.subject import WORDS, Subject
from composer.measure.inputs import Inputs

#: Relative to the largest output of the model, by the width of its dtype.
TOLERANCE = {8: 1e-6, 4: 1e-4, 2: 3e-2, 1: 0.3}

#: The script of every process: `call` takes (args, kwargs) and returns nested tensors.
_PROCESS = """
import sys


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "composer":
            raise ModuleNotFoundError("No module named 'composer'")


sys.meta_path.insert(0, Absent())
import torch
from torch.utils._pytree import tree_leaves

file, folder, cases = sys.argv[1], sys.argv[2], int(sys.argv[3])
{opening}
for case in range(cases):
    args, kwargs = torch.load(f"{{folder}}/given{{case}}.pt", weights_only=True)
    with torch.no_grad():
        out = [t for t in tree_leaves(call(args, kwargs)) if isinstance(t, torch.Tensor)]
    torch.save([t for t in out if t.is_floating_point()], f"{{folder}}/found{{case}}.pt")
"""


class UnprovenError(Exception):
    """A file that does not run, or whose outputs differ from the model's, as the message says."""


def cases_of(subject: Subject, opened: Sequence[str]) -> list[Inputs]:
    """Return the inputs to run a file on: two batch sizes and, if dynamic, two image sizes.

    Raises:
        UnprovenError: the sizes should be dynamic, but the model takes no other.
    """
    if "b" not in opened:
        return [subject.given(1)]
    cases = [subject.given(1), subject.given(3)]
    sized = [axis for axis in subject.sized if axis in opened]
    return [*cases, _at_another_size(subject, sized)] if sized else cases


def _at_another_size(subject: Subject, opened: Sequence[str]) -> Inputs:
    """Return inputs of another size that the model takes: an odd one if possible.

    Raises:
        UnprovenError: it takes no other size.
    """
    sizes = subject.sized
    odd = {axis: sizes[axis] + 2 * place + 1 for place, axis in enumerate(opened)}
    twice, half = ({axis: max(int(sizes[axis] * by), 1) for axis in opened} for by in (2, 0.5))
    why = ""
    for other in (odd, twice, half):
        inputs = subject.given(2, other)
        try:
            subject.output(inputs)
        except Exception as failure:  # whatever the model's own code raises
            why = why or first_line(failure)
        else:
            return inputs
    raise UnprovenError(f"the model takes no other size ({why})")


def difference(subject: Subject, file: Path, opening: str, cases: Sequence[Inputs]) -> float:
    """Return the largest difference between the outputs of a file and of the model.

    Args:
        subject: the exported model or mechanism.
        file: the exported file.
        opening: Python that defines ``call(args, kwargs)`` from ``file``.
        cases: the inputs of both.

    Raises:
        UnprovenError: the file does not run, or its outputs differ.
    """
    largest = 0.0
    with TemporaryDirectory(prefix="composer-proof-") as folder:
        for number, inputs in enumerate(cases):
            torch.save((inputs.args, dict(inputs.kwargs)), f"{folder}/given{number}.pt")
        script = _PROCESS.format(opening=opening)
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, str(file), folder, str(len(cases))],
            capture_output=True, text=True, check=False, cwd=folder, env=os.environ,
        )  # fmt: skip
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip()]
            raise UnprovenError(f"it does not run: {_shown(said[-1] if said else 'it ended')}")
        for number, inputs in enumerate(cases):
            found = torch.load(f"{folder}/found{number}.pt", weights_only=True)
            largest = max(largest, _largest(subject, inputs, found))
    return largest


def _largest(subject: Subject, inputs: Inputs, found: list[Tensor]) -> float:
    wanted = subject.output(inputs)
    assert inputs.image is not None
    shape = "×".join(map(str, inputs.image.shape))
    if [t.shape for t in found] != [t.shape for t in wanted]:
        shapes = [", ".join("×".join(map(str, t.shape)) for t in ts) for ts in (found, wanted)]
        raise UnprovenError(
            f"on an input of {shape} its output is {shapes[0]}, and the model's {shapes[1]}"
        )
    largest = 0.0
    for ours, theirs in zip(wanted, found, strict=True):
        apart = ours.double() - theirs.to(ours.device).double()
        off = float(apart.abs().nan_to_num(math.inf).max())
        scale = float(ours.double().abs().max()) or 1.0
        if off > TOLERANCE[ours.element_size()] * scale:
            raise UnprovenError(
                f"on an input of {shape} it differs by {off:.3g} from the model, whose outputs "
                f"are up to {scale:.3g}"
            )
        largest = max(largest, off)
    return largest


def refused(subject: Subject, format_: str, why: str, way_out: str) -> ComposerError:
    """Return the error for a failed export."""
    message = f"{subject.name} can't be exported as {format_}: {why}"
    return ComposerError(Diagnostic("no-export", message, way_out))


def first_line(failure: BaseException) -> str:
    """Return the message of a failure, on one line."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return _shown(lines[0] if lines else type(failure).__name__)


def _shown(line: str) -> str:
    return line if len(line) <= 200 else f"{line[:200]}…"


def named(axes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of axes."""
    return tuple(WORDS[axis] for axis in axes)
