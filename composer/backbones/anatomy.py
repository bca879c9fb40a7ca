"""The anatomy of a backbone: stages and blocks, with the layout and size of what they give.

Everything is learnt from the model itself. Two forward passes on fake tensors at two sizes tell
what runs, in which order, and which axes are height and width (they scale) and channels (they
don't). A block is a module that holds two layers of weights or more, and is one of several
siblings of a kind that run one after another, or has a skip; what holds blocks is a stage.
Blocks in one flat row, and networks without blocks, end a stage where the resolution falls. What
an earlier edit inserted is looked through; what it put in place of a layer counts as that layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from composer.backbones.edited import class_before_edits, is_inserted, is_stand_in
from composer.backbones.forward import Traces, weight_layers
from composer.backbones.probe import Call, Probe, probe
from composer.errors import ComposerError
from composer.measure.cost import FakeRun


@dataclass(frozen=True)
class MapShape:
    """The layout of a feature map in memory, and its sizes."""

    layout: tuple[str, ...]
    channels: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Part:
    """A block, or a stage as a whole: its path, its class, and what it gives.

    `shape` is None where the value is no feature map whose axes could be told apart; `refusal`
    then says what was seen.
    """

    path: str
    kind: str
    call: Call
    shape: MapShape | None
    refusal: str | None = None


@dataclass(frozen=True)
class Stage:
    """A stage: the module whose output is its output, and its blocks in the order they run."""

    number: int
    whole: Part
    blocks: tuple[Part, ...]


@dataclass(frozen=True)
class Anatomy:
    """The stages of a backbone, in the order they run."""

    stages: tuple[Stage, ...]
    probe: Probe
    larger: Probe | None  # on a larger image, where the model takes one
    traces: Traces

    @property
    def blocks(self) -> tuple[Part, ...]:
        """All blocks, in the order they run."""
        return tuple(block for stage in self.stages for block in stage.blocks)


def anatomy(model: nn.Module) -> Anatomy:
    """Return the stages and blocks of a model.

    Raises:
        ComposerError: the model's forward pass fails.
    """
    run = FakeRun.of(model)
    first = probe(model, run=run)
    channels, height, width = first.input_shape
    try:
        second: Probe | None = probe(model, (channels, height + 64, width + 64), run)
    except ComposerError:
        second = None
    explorer = _Explorer(model, first, second)
    return Anatomy(explorer.stages(), first, second, explorer.traces)


@dataclass(frozen=True)
class _Found:
    """A block with the module that holds it."""

    path: str
    container: str


class _Explorer:
    def __init__(self, model: nn.Module, first: Probe, second: Probe | None) -> None:
        self.traces = Traces(model)
        inserted = [path for path, m in model.named_modules() if is_inserted(m)]
        stand_ins = [path for path, m in model.named_modules() if is_stand_in(m)]
        self.modules = {
            path: module
            for path, module in model.named_modules()
            if not any(is_inside(path, i) for i in inserted)
            and not any(is_inside(path, s) and path != s for s in stand_ins)
        }
        self.trunk = tuple(call for call in first.calls if call.path in self.modules)
        self.calls: dict[str, list[Call]] = {}
        for call in self.trunk:
            self.calls.setdefault(call.path, []).append(call)
        self.before = {
            given: made
            for call in first.calls
            if call.path in inserted
            for given in call.outputs
            for made in call.inputs
        }
        self.explored: dict[str, list[_Found] | None] = {}
        self.larger = {c.path: c for c in second.calls} if second else {}

    # ------------------------------------------------------------------------------- blocks

    def units(self, path: str) -> list[str]:
        """Return what runs directly inside `path`, one after another, and could be a block."""
        inside = [
            p
            for p in self._called_below(path)
            if len(self.calls[p][0].shape or ()) == 4
            and weight_layers(self.modules[p]) >= 2
        ]
        inside.sort(key=lambda p: self.calls[p][0].order)
        together = Counter(map(self._takes, inside))
        return [p for p in inside if together[self._takes(p)] == 1]

    def _called_below(self, path: str) -> list[str]:
        """Return the nearest modules below that were called; a bare list is looked through."""
        found: list[str] = []
        for name, _ in self.modules[path].named_children():
            child = f"{path}.{name}" if path else name
            if child not in self.modules:
                continue  # inserted, or shared and known by its first path
            found += [child] if child in self.calls else self._called_below(child)
        return found

    def explore(self, path: str) -> list[_Found] | None:
        """Return the blocks below a module, or None where it does not come apart."""
        if path not in self.explored:
            self.explored[path] = self._explore(path)
        return self.explored[path]

    def _explore(self, path: str) -> list[_Found] | None:
        units = self.units(path)
        inner = {u: None if self._skips(u) else self.explore(u) for u in units}
        whole = [u for u in units if inner[u] is None]
        kinds = Counter(self._kind(u) for u in whole)
        apart = len(whole) < len(units)
        siblings = max(kinds.values(), default=0) > 1 or any(map(self._skips, units))
        if not apart and not siblings:
            return None
        found: list[_Found] = []
        for unit in units:
            blocks = inner[unit]
            if blocks is not None:
                found += blocks
            elif (only := self._only_child(unit)) is not None:
                found.append(_Found(only, unit))
            elif self._skips(unit) or (not apart and (kinds[self._kind(unit)] > 1 or found)):
                found.append(_Found(unit, path))
        return found or None

    def _kind(self, path: str) -> type[nn.Module]:
        return class_before_edits(self.modules[path])

    def _skips(self, path: str) -> bool:
        return self.traces.skips(self.calls[path][0])

    def _gives(self, path: str) -> frozenset[int]:
        """Return the tensors that a module gives, those from before what was inserted."""
        return frozenset(map(self._unedited, self.calls[path][0].outputs))

    def _takes(self, path: str) -> frozenset[int]:
        return frozenset(map(self._unedited, self.calls[path][0].inputs))

    def _unedited(self, tensor: int) -> int:
        while tensor in self.before:
            tensor = self.before[tensor]
        return tensor

    def _only_child(self, path: str) -> str | None:
        """Return the one block of a container that adds nothing to it, if it is such."""
        below = self._called_below(path)
        if len(below) != 1 or weight_layers(self.modules[below[0]]) < 2:
            return None
        plain = self._kind(path).forward is nn.Sequential.forward
        siblings_hold = any(
            self._kind(p) is self._kind(path) and p != path and self._holds(p)
            for p in self._beside(path)
        )
        same = self._takes(path) == self._takes(below[0])
        same = same and self._gives(path) == self._gives(below[0])
        return below[0] if same and (plain or siblings_hold) else None

    def _beside(self, path: str) -> list[str]:
        parent = path.rpartition(".")[0]
        return [p for p in self.calls if p.rpartition(".")[0] == parent]

    def _holds(self, path: str) -> bool:
        return not self._skips(path) and self.explore(path) is not None

    # ------------------------------------------------------------------------------- stages

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages in the order they run."""
        blocks = sorted(
            self.explore("") or [], key=lambda found: self.calls[found.path][0].order
        )
        if not blocks:
            wholes: list[tuple[str, list[str]]] = [(p, []) for p in self._before_each_fall()]
        else:
            groups: dict[str, list[str]] = {}
            for found in blocks:
                groups.setdefault(found.container, []).append(found.path)
            if len(groups) > 1:
                wholes = [(self._climb(c, groups), paths) for c, paths in groups.items()]
            else:
                wholes = [(run[-1], run) for run in self._runs([f.path for f in blocks])]
        return tuple(
            Stage(n, self.part(whole), tuple(map(self.part, paths)))
            for n, (whole, paths) in enumerate(wholes, start=1)
        )

    def _climb(self, container: str, groups: dict[str, list[str]]) -> str:
        """Return the outermost module that gives what the container gives, and no more stages."""
        best = container if container in self.calls else groups[container][-1]
        outputs = self._gives(best)
        path = container
        while path:
            path = path.rpartition(".")[0]
            others = [c for c in groups if c != container and is_inside(c, path)]
            if others or not path:
                break
            if path in self.calls and self._gives(path) == outputs:
                best = path
        return best

    def _children(self, path: str) -> list[str]:
        names = (name for name, _ in self.modules[path].named_children())
        return [name for name in names if f"{path}.{name}" in self.modules]

    def _runs(self, paths: Sequence[str]) -> list[list[str]]:
        runs: list[list[str]] = []
        last = None
        for path in paths:
            size = (self.calls[path][0].shape or ())[2:]
            if size != last:
                runs.append([])
            runs[-1].append(path)
            last = size
        return runs

    def _before_each_fall(self) -> list[str]:
        """Return the last module of the trunk before the resolution falls, for each fall."""
        trunk = [
            call
            for call in self.trunk
            if len(call.shape or ()) == 4 and not self._children(call.path)
        ]
        found, layers = [], 0
        for call, following in pairwise(trunk):
            layers += weight_layers(self.modules[call.path])
            falls = (following.shape or ())[2:] < (call.shape or ())[2:]
            if falls and layers and self._takes(following.path) & self._gives(call.path):
                found.append(call.path)
                layers = 0
        return found

    # -------------------------------------------------------------------------------- shapes

    def part(self, path: str) -> Part:
        """Return the block or stage at `path` with the shape of what it gives."""
        calls = self.calls[path]
        kind = self._kind(path).__name__
        if len(calls) > 1:
            return Part(path, kind, calls[0], None, f"it runs {len(calls)} times in one pass")
        shape = calls[0].shape
        if shape is None:
            what = type(calls[0].output).__name__
            return Part(path, kind, calls[0], None, f"it gives a {what}, not one tensor")
        if len(shape) != 4:
            sizes = "×".join(map(str, shape))
            return Part(path, kind, calls[0], None, f"it gives {sizes}, which is not a map")
        larger = self.larger.get(path)
        spatial = self._spatial_axes(path, shape, larger.shape if larger else None)
        if spatial not in ((2, 3), (1, 2)):
            sizes = "×".join(map(str, shape))
            return Part(
                path, kind, calls[0], None, f"height and width of {sizes} could not be told apart"
            )
        _, y, x, z = shape
        if spatial == (2, 3):
            return Part(path, kind, calls[0], MapShape(("b", "c", "h", "w"), y, (x, z)))
        return Part(path, kind, calls[0], MapShape(("b", "h", "w", "c"), z, (y, x)))

    def _spatial_axes(
        self, path: str, shape: tuple[int, ...], larger: tuple[int, ...] | None
    ) -> tuple[int, ...]:
        if larger is not None:
            return tuple(i for i in range(1, 4) if shape[i] != larger[i])
        widths = {w for m in self.modules[path].modules() for w in _widths(m)}
        candidates = [axes for axes, c in (((2, 3), 1), ((1, 2), 3)) if shape[c] in widths]
        return candidates[0] if len(candidates) == 1 else ()


def _widths(module: nn.Module) -> set[int]:
    """Return the channels that a norm, a convolution or a linear layer says it works on."""
    told = [getattr(module, a, None) for a in ("num_features", "out_channels", "out_features")]
    shape = getattr(module, "normalized_shape", None)
    told += [shape[-1]] if isinstance(shape, tuple) else []
    return {width for width in told if isinstance(width, int)}


def is_inside(path: str, parent: str) -> bool:
    """Return whether a module's path is that of another, or below it."""
    return parent == "" or path == parent or path.startswith(f"{parent}.")
