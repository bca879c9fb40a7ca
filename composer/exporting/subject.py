"""The subject of an export: a module, and its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import torch
from torch import Tensor, nn

from composer.analysis.copies import shell_of
from composer.analysis.probe import probe
from composer.artifact.folder import load
from composer.artifact.run import in_mode, tensors_of
from composer.errors import Diagnostic, UsageError, error
from composer.graph.frontend import load_spec
from composer.graph.graph import Settings
from composer.graph.places import layout_at
from composer.language.expressions import Value
from composer.lower.build import build, settings_for
from composer.measure.cost import floating_dtype
from composer.measure.inputs import Inputs
from composer.primitives import Spec
from composer.primitives.places import PLACES

#: Defaults for a spec's input.
CHANNELS, SIZE = 256, (14, 14)

#: The names of dynamic axes in a file.
WORDS = {
    "b": "batch", "h": "height", "w": "width", "d": "depth", "t": "length", "n": "tokens",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Subject:
    """A module in evaluation mode, its inputs for one sample, and the axes of the image in these.

    `axes` are named where they may be dynamic: batch first, then places of the map or tokens.
    A mechanism on its own has a spec, and its settings.
    """

    name: str
    model: nn.Module
    inputs: Inputs
    axes: tuple[str, ...]
    spec: Spec | None = None
    settings: Settings | None = None  # of the spec

    @property
    def image(self) -> Tensor:
        """The one tensor whose sizes may differ."""
        assert self.inputs.image is not None
        return self.inputs.image

    @property
    def sized(self) -> dict[str, int]:
        """The axes of the map, or of tokens, with the size that each has here."""
        sizes = zip(self.axes[1:], self.image.shape[1:], strict=True)
        return {axis: size for axis, size in sizes if axis in WORDS}

    def given(self, batch: int, sizes: Mapping[str, int] | None = None) -> Inputs:
        """Return this many different samples, with these sizes of the named axes."""
        wanted = dict(sizes or {})
        own = zip(self.axes[1:], self.image.shape[1:], strict=True)
        shape = (batch, *(wanted.get(axis, size) for axis, size in own))
        draw = torch.Generator().manual_seed(batch)
        return self.inputs.with_image(torch.randn(shape, generator=draw).to(self.image))

    def output(self, inputs: Inputs) -> list[Tensor]:
        """Return the output tensors of the module.

        Raises:
            ComposerError: there are none.
        """
        with in_mode(self.model, training=False), torch.no_grad():
            return tensors_of(self.model(*inputs.args, **inputs.kwargs))


def subject_of(
    what: nn.Module | Spec | str | PathLike[str],
    channels: int | None,
    size: tuple[int, ...] | None,
    params: Mapping[str, Value] | None,
    *,
    trust_code: bool = False,
) -> Subject:
    """Return the subject of an export.

    Args:
        what: a model, composed or not; a folder written by `save`; or a spec.
        channels: of a spec's input; 256 by default.
        size: of a spec's input; 14×14 by default.
        params: other values for a spec's params.
        trust_code: for a folder, whether code that its recipe names may be run; see
            `composer.load`.

    Raises:
        ComposerError: there is no such folder or spec, or it does not suit these sizes.
    """
    if isinstance(what, nn.Module):
        _need_no_sizes("a model", channels, size, params)
        return _of_model(what, type(what).__name__)
    if isinstance(what, (str, PathLike)) and (folder := Path(fspath(what))).is_dir():
        _need_no_sizes(f"{folder}", channels, size, params)
        return _of_model(load(folder, trust_code=trust_code), folder.resolve().name)
    spec = load_spec(what if isinstance(what, Spec) else fspath(what))
    return _of_spec(spec, channels or CHANNELS, size or SIZE, params or {})


def _need_no_sizes(
    what: str,
    channels: int | None,
    size: tuple[int, ...] | None,
    params: Mapping[str, Value] | None,
) -> None:
    for word, given in (("channels", channels), ("size", size), ("params", params)):
        if given:
            message = f"{word} is only for a spec, and {what} has its own"
            raise UsageError(Diagnostic("usage", message, f"omit {word}"))


def _of_model(model: nn.Module, name: str) -> Subject:
    ran = probe(shell_of(model))
    if ran.entry:
        raise error(
            "invalid-inputs",
            f"{name} takes more than images, and only its part {ran.entry!r} was run",
            f"export that part: composer.export(model.get_submodule({ran.entry!r}), ...)",
        )
    inputs = ran.inputs.filled().on(model)
    image = inputs.image
    assert image is not None
    places = PLACES[ran.dimensions]
    known = image.is_floating_point() and image.dim() == 2 + len(places)
    axes = ("b", "c", *places) if known else ("b", *(f"x{i}" for i in range(1, image.dim())))
    return Subject(name, model, inputs, axes)


def _of_spec(
    spec: Spec, channels: int, size: tuple[int, ...], params: Mapping[str, Value]
) -> Subject:
    layout, places = layout_at(spec, None, size)
    axes = layout or spec.input
    if len(size) != len(places):
        size = size[: len(places)]
    module = build(spec, channels if "c" in axes else None, size=size, params=params)
    lengths = {"c": channels, "n": _product(size), **dict(zip(places, size, strict=True))}
    shape = [lengths[axis] for axis in axes[1:]]
    inputs = Inputs((torch.zeros((1, *shape), dtype=floating_dtype(module)),))
    names = dict(zip(places, PLACES[len(places)], strict=True))
    _need_one_input(module, spec)
    settings = settings_for(spec, channels if "c" in axes else None, None, size, params)
    named = ("b", *(names.get(axis, axis) for axis in axes[1:]))
    return Subject(spec.name, module.eval(), inputs, named, spec, settings)


def _product(size: tuple[int, ...]) -> int:
    return torch.Size(size).numel()


def _need_one_input(module: nn.Module, spec: Spec) -> None:
    graph = getattr(module, "graph", None)
    names = [node.name for node in graph.find_nodes(op="placeholder")] if graph else []
    if len(names) > 1:
        raise error(
            "invalid-inputs",
            f"{spec.name!r} takes {len(names)} inputs: {', '.join(names)}",
            "insert it into a model, and export that",
        )
