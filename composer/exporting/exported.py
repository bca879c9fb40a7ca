"""`composer.export`: a model or a spec in another format, verified before it is put in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from composer.errors import Diagnostic, UsageError, listing, suggestion
from composer.exporting import aoti, onnx, pt2
from composer.exporting.made import Made
from composer.exporting.python import to_python
from composer.exporting.subject import Subject, subject_of
from composer.files import check_file_free, write_file
from composer.language.expressions import Value
from composer.primitives import Spec


@dataclass(frozen=True)
class Format:
    """One format: its suffix, its requirements, and how it is written and verified."""

    suffix: str
    check: Callable[[], None]
    write: Callable[[Subject, Path], Made]


#: By the value of ``--to``. A suffix means the first format that has it.
FORMATS: Mapping[str, Format] = {
    "python": Format(".py", to_python.check, to_python.to_python),
    "onnx": Format(".onnx", onnx.check, onnx.to_onnx),
    "pt2": Format(".pt2", pt2.check, pt2.to_pt2),
    "aoti": Format(".pt2", aoti.check, aoti.to_aoti),
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        format: of the file.
        file: its path.
        bytes: its size, including the weights beside it.
        difference: the largest from the model's output, on two batch sizes and two image sizes.
        dynamic: the axes of the input that may have any size.
        fixed: the axes of batch and map that are fixed, with the reason.
        shape: that of the input it was made with; its batch is one.
    """

    format: str
    file: Path
    bytes: int
    difference: float
    dynamic: tuple[str, ...]
    fixed: Mapping[str, str]
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "version": 1,
            "format": self.format,
            "output": str(self.file),
            "bytes": self.bytes,
            "difference": self.difference,
            "dynamic": list(self.dynamic),
            "fixed": dict(self.fixed),
            "shape": list(self.shape),
        }


def export(
    what: nn.Module | Spec | str | PathLike[str],
    file: str | PathLike[str],
    to: str | None = None,
    *,
    channels: int | None = None,
    size: tuple[int, ...] | None = None,
    params: Mapping[str, Value] | None = None,
    force: bool = False,
    trust_code: bool = False,
) -> Exported:
    """Write a model or a mechanism so that it runs without Composer.

    It is written to a temporary folder, run there in a fresh process that can't import Composer,
    compared with the model in evaluation mode, and only then moved to its place. Batch, height and
    width are dynamic where the model allows it and the file's outputs are right.

    Args:
        what: a model, composed or not; a folder written by `save`; or a spec.
        file: the file to write.
        to: ``"python"``, a class of plain torch, or a composed model with its weights beside it;
            ``"onnx"``; ``"pt2"``, the file of `torch.export`; or ``"aoti"``, the package of
            AOTInductor. By default the suffix of the file decides: .py, .onnx or .pt2.
        channels: of a spec's input; 256 by default.
        size: of a spec's input; 14×14 by default.
        params: other values for a spec's params.
        force: overwrite an existing file.
        trust_code: for a folder, whether code that its recipe names may be run; see
            `composer.load`.

    Returns:
        What was written, with the largest difference.

    Raises:
        ComposerError: the file exists, there is no such format, the model can't be written in it,
            or the outputs of the written file differ from the model's.
        MissingPartError: a package or a compiler that the format needs is not installed.
    """
    path = Path(file)
    name = format_of(path, to)
    format_ = FORMATS[name]
    check_file_free(path, force)
    format_.check()
    subject = subject_of(what, channels, size, params, trust_code=trust_code)
    with TemporaryDirectory(prefix="composer-export-") as folder:
        found = format_.write(subject, Path(folder) / path.name)
        files = sorted(Path(folder).iterdir(), key=lambda one: (one.name == path.name, one))
        made = {one: path.with_name(one.name) for one in files}  # the file itself last
        for place in made.values():  # weights may lie beside the file
            check_file_free(place, force)
        size_in_bytes = sum(one.stat().st_size for one in made)
        for one, place in made.items():
            _copy(one, place, force)
    shape = tuple(subject.image.shape)
    return Exported(name, path, size_in_bytes, found.difference, found.dynamic, found.fixed, shape)


def _copy(one: Path, place: Path, force: bool) -> None:
    write_file(place, lambda made: shutil.copyfile(one, made), force=force)


def format_of(file: Path, to: str | None) -> str:
    """Return the requested format.

    Raises:
        UsageError: there is no such format, or the suffix is that of another.
    """
    if to is not None and to not in FORMATS:
        known = suggestion(str(to), list(FORMATS), "formats")
        raise UsageError(Diagnostic("usage", f"unknown format {to!r}", known))
    if to is None:
        found = [name for name, one in FORMATS.items() if one.suffix == file.suffix.lower()]
        if not found:
            suffixes = listing(list(dict.fromkeys(f.suffix for f in FORMATS.values())), last="or")
            message = f"{file.name!r} has no suffix that gives the format"
            raise UsageError(Diagnostic("usage", message, f"use {suffixes}, or to='onnx'"))
        return found[0]
    if file.suffix.lower() != FORMATS[to].suffix:
        message = f"{file.name!r} does not end in {FORMATS[to].suffix}, as files of {to} do"
        way_out = f"name it {file.stem + FORMATS[to].suffix!r}"
        raise UsageError(Diagnostic("usage", message, way_out))
    return to
