"""The layers of a backbone that something could stand in for, in the order they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from composer.analysis.attribute_reads import read_besides
from composer.analysis.edited import (
    before_stand_in,
    class_before_edits,
    is_edited,
    is_inserted,
    is_stand_in,
)
from composer.analysis.maps import CONVOLUTIONS
from composer.analysis.parts import LAYERS_OF_A_BLOCK, Anatomy, Stage
from composer.analysis.paths import around
from composer.analysis.probe import Call
from composer.errors import counted
from composer.lower.like import ANY_CONVOLUTION, attention_refusal, conv2d_refusal, heads_of
from composer.primitives.places import PLACES
from composer.surgery.match import Facts
from composer.surgery.same_call import unlike


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or an attention module: its path, its caller, and why it can't be replaced.

    `number` counts its kind in the order they run; layers on pooled values have none.
    """

    path: str
    call: Call
    caller: Call
    stage: int | None
    block: int | None
    facts: Facts
    number: int | None
    refusal: str | None

    @property
    def name(self) -> str:
        """The path from the module that calls it."""
        return self.path.removeprefix(f"{self.caller.path}." if self.caller.path else "")


def convolutions(model: nn.Module, known: Anatomy) -> tuple[Layer, ...]:
    """Return every `nn.Conv2d` that runs, and what stands in for one.

    In a model of signals or volumes these are its convolutions of one or three dimensions.
    """
    pooled = _pooled(known)
    dimensions = known.probe.dimensions
    kind, taken = CONVOLUTIONS[dimensions], ", ".join(("b", "c", *PLACES[dimensions]))
    found = _Found(model, known)
    layers: list[Layer] = []
    number = 0
    for path, module in found.modules():
        before = before_stand_in(module)
        stands_in = before is not None and before.at == "conv"
        if not (stands_in or isinstance(module, kind)):
            continue
        number += path not in pooled
        refusal = found.refusal(path, module)
        if not stands_in:
            refusal = refusal or conv2d_refusal(module)
        if _takes(found.calls[path][0]) != 2 + dimensions:
            refusal = refusal or f"it does not take [{taken}]"
        if path in pooled:
            refusal = refusal or "it works on pooled values"
        layers.append(
            found.layer(path, _facts(path, module), None if path in pooled else number, refusal)
        )
    return found.unless_read(layers)


def attention_modules(model: nn.Module, known: Anatomy) -> tuple[Layer, ...]:
    """Return every multi-head module that runs, and its stand-ins; only the innermost ones."""
    found = _Found(model, known)
    layers: list[Layer] = []
    for path, module in found.modules():
        before = before_stand_in(module)
        stands_in = before is not None and before.at == "attention"
        inner = any(heads_of(m) for m in module.modules() if m is not module)
        if not (stands_in or (heads_of(module) and not inner)):
            continue
        refusal = found.refusal(path, module) or _with_batch_second(module)
        refusal = refusal or unlike(found.calls[path][0])
        if not stands_in:
            refusal = refusal or attention_refusal(module)
        layers.append(found.layer(path, _facts(path, module), len(layers) + 1, refusal))
    return found.unless_read(layers)


def listed(layers: tuple[Layer, ...]) -> str:
    """Return what there is, grouped by kind: ``16 of kernel 3, groups 32; 33 of kernel 1``."""
    kinds = Counter(str(layer.facts) for layer in layers)
    return "; ".join(f"{count} of {kind}" for kind, count in kinds.items())


class _Found:
    """The modules of a model that ran, without the insides of insertions."""

    def __init__(self, model: nn.Module, known: Anatomy) -> None:
        self.model, self.known = model, known
        self.calls: dict[str, list[Call]] = {}
        for call in known.probe.calls:
            self.calls.setdefault(call.path, []).append(call)
        self.ours = {p for p, m in model.named_modules() if is_inserted(m) or is_stand_in(m)}

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules of the backbone that ran, stand-ins included."""
        for path in sorted(self.calls, key=lambda path: self.calls[path][0].order):
            module = self.model.get_submodule(path)
            inside = not self.ours.isdisjoint(around(path)[1:])
            if path and not inside and not is_inserted(module):
                yield path, module

    def refusal(self, path: str, module: nn.Module) -> str | None:
        """Return why a layer of this model can't be replaced."""
        if is_stand_in(module):
            return "it already has a stand-in"
        if is_edited(module):
            return "something was inserted after it"
        runs = len(self.calls[path])
        return f"it runs {counted(runs, 'time')} in one pass" if runs > 1 else None

    def layer(self, path: str, facts: Facts, number: int | None, refusal: str | None) -> Layer:
        """Return the layer at a path."""
        stage, block = self._place(path)
        above = path
        while above:
            above = above.rpartition(".")[0]
            if above in self.calls:
                break
        caller = self.calls[above][0]
        return Layer(path, self.calls[path][0], caller, stage, block, facts, number, refusal)

    def unless_read(self, layers: list[Layer]) -> tuple[Layer, ...]:
        """Return the layers, and refuse those with attributes that others read."""
        free = [layer.path for layer in layers if layer.refusal is None]
        read = self._read(free) if free else {}
        return tuple(
            replace(layer, refusal=f"its {read[layer.path]} is read by other modules")
            if layer.path in read
            else layer
            for layer in layers
        )

    def _read(self, paths: list[str]) -> dict[str, str]:
        probe = self.known.probe
        return read_besides(self.model, paths, probe)

    def _place(self, path: str) -> tuple[int | None, int | None]:
        """Return the numbers of the stage and the block of a path."""
        number, block = self.known.place_of(path)
        if number is not None:
            return number, block
        order = self.calls[path][0].order
        for stage in self.known.stages:
            if not self._is_plain(stage) or order > stage.whole.call.order:
                continue
            ends = (n for n, b in enumerate(stage.blocks, start=1) if order <= b.call.order)
            return stage.number, next(ends, None)
        return None, None

    def _is_plain(self, stage: Stage) -> bool:
        """Return whether a stage is a flat row of layers, each of which comes before its end."""
        return all(self.known.layers(block.path) < LAYERS_OF_A_BLOCK for block in stage.blocks)


def _pooled(known: Anatomy) -> set[str]:
    """Return the modules whose input is a map of one pixel, whatever the size of the image."""
    axes = 2 + known.probe.dimensions
    probes = [known.probe, *([known.larger] if known.larger else [])]
    single = [
        {c.path for c in probe.calls if (x := _given(c)) is not None
         and x.dim() == axes and set(x.shape[2:]) == {1}}
        for probe in probes
    ]  # fmt: skip
    return set.intersection(*single)


def _given(call: Call) -> Tensor | None:
    """Return the first input of a module, if it is a tensor."""
    first = call.args[0] if call.args else None
    return first if isinstance(first, Tensor) else None


def _takes(call: Call) -> int:
    given = _given(call)
    return 0 if given is None else given.dim()


def _facts(path: str, module: nn.Module) -> Facts:
    kind, name = class_before_edits(module).__name__, path.rpartition(".")[2]
    if not isinstance(module, ANY_CONVOLUTION):
        return Facts(kind, name, {}, {})
    sizes = {"kernel": module.kernel_size, "stride": module.stride, "dilation": module.dilation}
    counts = {"groups": module.groups, "channels": module.in_channels, "out": module.out_channels}
    return Facts(kind, name, {key: tuple(pair) for key, pair in sizes.items()}, counts)


def _with_batch_second(module: nn.Module) -> str | None:
    if isinstance(module, nn.MultiheadAttention) and not module.batch_first:
        return "it takes [n, b, c]: batch_first=False"
    return None
