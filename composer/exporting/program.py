"""The program of a module: one graph of torch's operators, with its dynamic sizes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_map

from composer.artifact.run import in_mode
from composer.exporting.subject import WORDS, Subject

#: Samples that a program is traced with: 0 and 1 would be specialised.
SAMPLES = 2


def program_of(subject: Subject, opened: Collection[str]) -> ExportedProgram:
    """Return the program from `torch.export`, with these axes dynamic where possible.

    Args:
        subject: what is exported.
        opened: the axes to make dynamic, by their letters in a spec.
    """
    inputs = subject.given(SAMPLES if "b" in opened else 1)
    image = inputs.image

    def shape(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() == 0:
            return None
        axes = subject.axes if value is image else ("b",)
        return {place: Dim.AUTO for place, axis in enumerate(axes) if axis in opened} or None

    dynamic = tree_map(shape, (inputs.args, dict(inputs.kwargs)))
    given = (*dynamic[0], *dynamic[1].values())
    with in_mode(subject.model, training=False), torch.no_grad():
        return torch.export.export(
            subject.model,
            tuple(inputs.args),
            dict(inputs.kwargs),
            dynamic_shapes=_by_name(subject, dynamic) if dynamic[1] else given,
        )


def _by_name(subject: Subject, dynamic: Any) -> dict[str, Any]:
    """Return shapes by argument name, which torch requires where some are keyword arguments."""
    names = list(inspect.signature(subject.model.forward).parameters)
    return {**dict(zip(names, dynamic[0], strict=False)), **dynamic[1]}


def open_axes(program: ExportedProgram, subject: Subject) -> Mapping[str, str]:
    """Return the dynamic axes: the letter of each, and its symbol in the program."""
    shape = _image_of(program, subject).shape
    return {
        axis: str(size)
        for axis, size in zip(subject.axes, shape, strict=True)
        if axis in WORDS and not isinstance(size, int)
    }


def _image_of(program: ExportedProgram, subject: Subject) -> Tensor:
    """Return the image input of a program: the one with as many axes and the same channels.

    Raises:
        LookupError: there is no such input.
    """
    names = set(program.graph_signature.user_inputs)
    own = [size for axis, size in zip(subject.axes, subject.image.shape, strict=True)
           if axis not in WORDS]  # fmt: skip
    for node in program.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        if node.name not in names or not isinstance(value, Tensor):
            continue
        if value.dim() == subject.image.dim() and own == [
            size for axis, size in zip(subject.axes, value.shape, strict=True) if axis not in WORDS
        ]:
            return value
    raise LookupError("the program takes no image")
