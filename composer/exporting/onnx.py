"""ONNX, which onnxruntime, TensorRT, OpenVINO and other tools read."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.nn.attention import SDPBackend, sdpa_kernel

from composer.errors import Diagnostic, MissingPartError, listing
from composer.exporting.made import CantBeWrittenError, Made, made
from composer.exporting.proof import first_line
from composer.exporting.subject import WORDS, Subject
from composer.turns import TURN

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_NO_FUNCTION = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_SUMMARY = re.compile(r"<class '[\w.]+'>: (.+)")

#: Python that defines ``call`` from ``file``; see `composer.exporting.proof`.
OPENING = """
import onnxruntime

session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
names = [taken.name for taken in session.get_inputs()]


def call(args, kwargs):
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    arrays = dict(zip(names, [t.cpu().numpy() for t in given]))
    return [torch.from_numpy(found) for found in session.run(None, arrays)]
"""


def check() -> None:
    """Refuse to start without the packages that write and run ONNX.

    Raises:
        MissingPartError: with the command that installs them.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingPartError(
            Diagnostic(
                "missing-library",
                f"ONNX needs {listing(missing)}, which {verb} not installed",
                "pip install 'attention-composer[export]'",
            )
        )


def to_onnx(subject: Subject, file: Path) -> Made:
    """Write a model as ONNX, checked, and compare it in onnxruntime.

    Raises:
        ComposerError: an operator has no counterpart in ONNX, or the outputs differ.
    """
    return made(subject, file, "onnx", _write, OPENING)


def _write(program: ExportedProgram, opened: Mapping[str, str], file: Path) -> None:
    import onnx

    # torch's fast attention has another memory layout than the products and the softmax that
    # ONNX gets: views of one are not valid for the other
    with _quiet(), sdpa_kernel(SDPBackend.MATH):
        try:
            exported = torch.onnx.export(program, (), dynamo=True, verbose=False)
        except Exception as failure:  # torch's own exception classes have moved between versions
            raise CantBeWrittenError(_reason(failure)) from None
        assert exported is not None
        exported.save(str(file))
    model = onnx.load(str(file), load_external_data=False)
    _rename(model, {symbol: WORDS[axis] for axis, symbol in opened.items()})
    onnx.save(model, str(file))
    onnx.checker.check_model(str(file))


def _reason(failure: Exception) -> str:
    """Return the operator that ONNX lacks, from torch's message."""
    said: list[str] = []
    cause: BaseException | None = failure
    while cause is not None:
        said.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    text = "\n".join(said)
    if found := _NO_FUNCTION.search(text):
        return f"{found[1]} has no counterpart in ONNX"
    if found := _SUMMARY.search(text):
        return found[1]
    return first_line(failure)


def _rename(model: object, names: Mapping[str, str]) -> None:
    """Name the dynamic sizes of inputs and outputs, instead of torch's symbols."""
    graph = model.graph  # type: ignore[attr-defined]
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = re.sub(
                    r"[A-Za-z_]\w*", lambda word: names.get(word[0], word[0]), size.dim_param
                )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide torch's progress and version warnings."""
    with TURN, contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)
