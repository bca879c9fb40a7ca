"""AOTInductor's package: the program as a compiled library, with its weights."""

from __future__ import annotations

import os
import shutil
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from composer.errors import Diagnostic, MissingPartError
from composer.exporting.made import Made, made
from composer.exporting.subject import Subject

#: Python that defines ``call`` from ``file``; see `composer.exporting.proof`.
OPENING = """
package = torch._inductor.aoti_load_package(file)


def call(args, kwargs):
    return package(*args, **kwargs)
"""


def check() -> None:
    """Refuse to start without a C++ compiler.

    Raises:
        MissingPartError: with how to install one.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise MissingPartError(
            Diagnostic(
                "no-compiler",
                f"AOTInductor needs a C++ compiler, and {compiler} is not installed",
                "install one, for example with 'apt install g++', or choose another with "
                "CXX=clang++; --to onnx and --to pt2 need none",
            )
        )


def to_aoti(subject: Subject, file: Path) -> Made:
    """Write a model compiled by AOTInductor, for its device.

    Raises:
        ComposerError: it does not compile, or its outputs differ.
    """
    return made(_with_dotted_names(subject), file, "aoti", _write, OPENING)


def _with_dotted_names(subject: Subject) -> Subject:
    """Return the subject with the tensors of a bare mechanism under its name.

    AOTInductor makes a C++ variable for each tensor, by its name, next to its own variables:
    `kernels`, a parameter of a conditional convolution, would be declared twice. ``a.kernels``
    becomes another word.
    """
    one_input = len(subject.inputs.args) == 1 and not subject.inputs.kwargs
    if not one_input or all("." in key for key in subject.model.state_dict()):
        return subject
    held = OrderedDict({"mechanism": subject.model})
    return replace(subject, model=nn.Sequential(held).eval())


def _write(program: ExportedProgram, _: Mapping[str, str], file: Path) -> None:
    file.unlink(missing_ok=True)
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
