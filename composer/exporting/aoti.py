"""AOTInductor's package: the program as a library in machine code, with its weights."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.export import ExportedProgram

from composer.errors import Diagnostic, MissingPartError
from composer.exporting.made import Made, made
from composer.exporting.subject import Subject

#: Python that makes ``call`` of ``file``; see `composer.exporting.proof`.
OPENING = """
package = torch._inductor.aoti_load_package(file)


def call(args, kwargs):
    return package(*args, **kwargs)
"""


def check() -> None:
    """Refuse to begin without a compiler of C++.

    Raises:
        MissingPartError: with the way to one.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        raise MissingPartError(
            Diagnostic(
                "no-compiler",
                f"AOTInductor compiles C++, and there is no {compiler} here",
                "install one, as by 'apt install g++', or name another by CXX=clang++; "
                "--to onnx and --to pt2 need none",
            )
        )


def to_aoti(subject: Subject, file: Path) -> Made:
    """Write a model as AOTInductor compiles it, for the device that it is on.

    Raises:
        ComposerError: it does not compile, or the numbers are others.
    """
    return made(subject, file, "aoti", _write, OPENING)


def _write(program: ExportedProgram, _: Mapping[str, str], file: Path) -> None:
    file.unlink(missing_ok=True)
    torch._inductor.aoti_compile_and_package(program, package_path=str(file))
