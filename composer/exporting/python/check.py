"""Comparison of a Python file with its model, on weights that hide nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from composer.errors import ComposerError, error
from composer.exporting.made import Made
from composer.exporting.proof import UnprovenError, cases_of, difference, named
from composer.exporting.subject import WORDS, Subject, subject_of
from composer.models.weights import save_weights

#: Python that defines ``call`` from ``file``; see `composer.exporting.proof`.
OPENING = """
import importlib.util
from safetensors.torch import load_model
spec = importlib.util.spec_from_file_location("exported", file)
exported = importlib.util.module_from_spec(spec)
spec.loader.exec_module(exported)
net = exported.{make}.double().eval()
load_model(net, file.removesuffix(".py") + ".safetensors")  # in float64, unrounded


def call(args, kwargs):
    return net(*args, **kwargs)
"""


def proven_model(model: nn.Module, file: Path) -> Made:
    """Return the largest difference of a written model's outputs from the model's, in float64.

    The weights used are left beside the file.

    Raises:
        ComposerError: code ``other-numbers``: it fails, or differs by more than rounding.
    """
    moved = in_float64(subject_of(model, None, None, None), file)
    opening = OPENING.format(make="model(pretrained=True)")
    try:
        return proven(moved, file, opening)
    except UnprovenError as failure:
        raise _refused(str(failure)) from None


def proven(moved: Subject, file: Path, opening: str) -> Made:
    """Return the verified properties of a file, at two batch sizes and, if dynamic, two sizes.

    Raises:
        UnprovenError: the file does not run, or its outputs differ.
    """
    opened = ("b", *moved.sized)
    try:
        largest = difference(moved, file, opening, cases_of(moved, opened))
        return Made(largest, named(opened), {})
    except UnprovenError as failure:
        fixed = {WORDS[axis]: str(failure) for axis in moved.sized}
    return Made(difference(moved, file, opening, cases_of(moved, ("b",))), named(("b",)), fixed)


def in_float64(subject: Subject, file: Path) -> Subject:
    """Return a copy with slightly perturbed weights, and write these beside the file.

    Fresh models have branches silenced by a zero, in which errors would not be seen.
    """
    twin = copy.deepcopy(subject.model).to("cpu", torch.float64).eval()
    draw = torch.Generator().manual_seed(0)
    for parameter in twin.parameters():
        if parameter.dim() <= 1:
            parameter.data += 0.1 + 0.1 * torch.rand(
                parameter.shape, generator=draw, dtype=parameter.dtype
            )
    save_weights(twin, file.with_suffix(".safetensors"))
    return replace(subject, model=twin, inputs=subject.inputs.on(twin))


def _refused(why: str) -> ComposerError:
    return error(
        "other-numbers",
        f"the Python code of this model is wrong and was not written: {why}",
        "export to pt2 or onnx, and report this with the recipe",
    )
