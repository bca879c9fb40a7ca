"""The anatomy of a backbone: stages and blocks, with the layout and size of their outputs.

Everything is read from the model itself. Two forward passes on fake tensors at two sizes show
what runs, in which order, and which axes are height and width (they scale) and channels (they
don't). A block is a module with at least two layers of weights that is one of several siblings of a
kind run one after another, or has a skip connection; a module that contains blocks is a stage.
In a flat row of blocks, and in networks without blocks, a stage ends where the resolution falls; in
a plain row of layers, as in VGG, a block is a layer with what follows it. Earlier insertions are
ignored; a stand-in counts as the layer that it replaces.
"""

from __future__ import annotations

import inspect

from torch import nn

from composer.analysis.explorer import Explorer
from composer.analysis.parts import Anatomy
from composer.analysis.probe import Probe, probe
from composer.analysis.stages import Staging
from composer.errors import ComposerError, error
from composer.measure.cost import FakeRun
from composer.measure.inputs import Inputs


def anatomy(model: nn.Module, inputs: Inputs | None = None) -> Anatomy:
    """Return the stages and blocks of a model, as it runs on `inputs`; see `probe`.

    Raises:
        ComposerError: the model's forward pass fails.
    """
    given: object = model
    if not isinstance(given, nn.Module):
        message = f"expected a model but got {type(given).__name__}"
        raise error("not-a-model", message, "give a torch.nn.Module, or a MODEL string")
    if hasattr(model, "_orig_mod"):
        raise error(
            "compiled-model",
            "this is a compiled model (torch.compile)",
            "give the model itself, and compile the result",
        )
    if "mode" not in inspect.signature(type(model).train).parameters:
        kind = type(model).__name__
        raise error(
            "not-a-model",
            f"{kind} runs a network but is not a module: its train() starts a training",
            f"give the network inside it: {kind.lower()}.model = composer.insert("
            f"{kind.lower()}.model, …)",
        )
    run = FakeRun.of(model)
    first = probe(model, inputs, run)
    second = _larger(model, first, run)
    explorer = Explorer(model, first, second, run)
    stages, others = Staging(explorer).stages()
    return Anatomy(
        stages,
        others,
        first,
        second,
        explorer.traces,
        explorer.skips,
        explorer.calls.__contains__,
        explorer.layers,
        explorer.is_norm,
        explorer.part,
        explorer.given_to,
        explorer.is_traced,
    )


def _larger(model: nn.Module, first: Probe, run: FakeRun) -> Probe | None:
    """Return a pass on a larger image, where the model takes one."""
    for more in (64, first.input_shape[-first.dimensions], 32):
        try:
            larger = first.inputs.larger(more, first.dimensions)
            second = probe(model, larger, run, first.entry)
        except ComposerError:
            continue
        if any(a.shape != b.shape for a, b in zip(first.calls, second.calls, strict=False)):
            return second  # else the model resizes each image
    return None
