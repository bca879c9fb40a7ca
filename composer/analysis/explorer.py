"""Finds the blocks and the stages of a backbone; `composer.analysis.anatomy` says how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from torch import nn

from composer.analysis.edited import class_before_edits, is_inserted, is_stand_in
from composer.analysis.maps import MapShape, NotAMap, Values
from composer.analysis.parts import LAYERS_OF_A_BLOCK, Part, Stage
from composer.analysis.paths import around, is_inside
from composer.analysis.probe import Call, Probe
from composer.analysis.recording import Untraceable
from composer.analysis.residual import branch_end
from composer.analysis.token_order import TokenOrder, token_order
from composer.analysis.traces import Traces
from composer.analysis.weight_layers import has_weights, weight_layers
from composer.measure.cost import FakeRun


@dataclass(frozen=True)
class _Found:
    """A block with the module that holds it."""

    path: str
    container: str


class Explorer:
    """Looks at one model, and keeps what it has seen."""

    def __init__(
        self, model: nn.Module, first: Probe, second: Probe | None, run: FakeRun
    ) -> None:
        self.model, self.first = model, first
        self.traces = Traces(model, run, first)
        self.skipping: dict[str, bool] = {}
        inserted = {path for path, m in model.named_modules() if is_inserted(m)}
        stand_ins = {path for path, m in model.named_modules() if is_stand_in(m)}
        self.modules = {
            path: module
            for path, module in model.named_modules()
            if inserted.isdisjoint(around(path)) and stand_ins.isdisjoint(around(path)[1:])
        }
        self.trunk = tuple(call for call in first.calls if call.path in self.modules)
        self.calls: dict[str, list[Call]] = {}
        for call in self.trunk:
            self.calls.setdefault(call.path, []).append(call)
        self.root = self._root()
        self.before = {
            given: made
            for call in first.calls
            if call.path in inserted
            for given in call.outputs
            for made in call.inputs
        }
        self.explored: dict[str, list[_Found] | None] = {}
        self.larger = {c.path: c for c in second.calls} if second else {}
        self.values = Values(model, first, second)
        self.named_stages = _named_stages(model)

    def _root(self) -> str:
        """Return what holds the stages: the model, or a backbone that gives maps to heads."""
        several = [p for p in ("backbone",) if p in self.calls and self.calls[p][0].value is None]
        return several[0] if several else ""

    # ------------------------------------------------------------------------------- blocks

    def units(self, path: str) -> list[str]:
        """Return what runs directly inside `path`, one after another, and could be a block."""
        inside = [
            p
            for p in self._giving_below(path)
            if self._may_be_a_map(self.calls[p][0].shape)
            and weight_layers(self.modules[p]) >= LAYERS_OF_A_BLOCK
        ]
        inside.sort(key=lambda p: self.calls[p][0].order)
        together = Counter(map(self._takes, inside))
        return [p for p in inside if together[self._takes(p)] == 1]

    def _giving_below(self, path: str) -> list[str]:
        """Return the nearest modules below that give a tensor; records of several are opened."""
        found: list[str] = []
        for child in self._called_below(path):
            opaque = self.calls[child][0].value is None
            found += (self._giving_below(child) if opaque else []) or [child]
        return found

    def _called_below(self, path: str) -> list[str]:
        """Return the nearest modules below that were called; a bare list is looked through."""
        found: list[str] = []
        for name, _ in self.modules[path].named_children():
            child = f"{path}.{name}" if path else name
            if child not in self.modules:
                continue  # inserted, or shared and known by its first path
            found += [child] if child in self.calls else self._called_below(child)
        return found

    def _may_be_a_map(self, shape: tuple[int, ...] | None) -> bool:
        """Return whether a shape may be that of a map of one image, or of its tokens."""
        return shape is not None and len(shape) in (3, 4) and shape[0] in self.first.batches

    def explore(self, path: str) -> list[_Found] | None:
        """Return the blocks below a module, or None where it does not come apart."""
        if path not in self.explored:
            self.explored[path] = self._explore(path)
        return self.explored[path]

    def _explore(self, path: str) -> list[_Found] | None:
        inner = {u: None if self._skips(u) else self.explore(u) for u in self.units(path)}
        units = [u for u in inner if inner[u] is not None or not self._embeds(u)]
        whole = [u for u in units if inner[u] is None]
        kinds = Counter(self._kind(u) for u in whole)
        apart = len(whole) < len(units)
        kinds_apart = {self._kind(u) for u in units if inner[u] is not None}
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
            elif self._kind(unit) in kinds_apart:
                found += [_Found(block, unit) for block in self._in_a_row(unit)]
        return found or None

    def _embeds(self, path: str) -> bool:
        """Return whether a module makes tokens of a map, as what comes before all blocks does."""
        call = self.calls[path][0]
        return call.given is not None and call.given.dim() == 4 and len(call.shape or ()) == 3

    def _in_a_row(self, path: str) -> list[str]:
        """Return what runs inside a stage that has no two of a kind, nor any with a skip."""
        inside: list[str] = []
        for unit in self.units(path):
            plain = self._kind(unit).forward is nn.Sequential.forward
            inside += (self._in_a_row(unit) if plain else []) or [unit]
        return inside

    def _kind(self, path: str) -> type[nn.Module]:
        return class_before_edits(self.modules[path])

    def _skips(self, path: str) -> bool:
        return self.skips(self.calls[path][0])

    def skips(self, call: Call) -> bool:
        """Return whether a module's own forward ends in a residual add.

        What takes a list of maps and adds some of them, as a module of HRNet, has no shortcut.
        """
        if call.given is None:
            return False
        if call.path not in self.skipping:
            try:
                graph = self.traces.evaluation(call)
                branch = branch_end(self.model.get_submodule(call.path), graph, call.index)
                self.skipping[call.path] = branch is not None and branch.add is not None
            except Untraceable:
                self.skipping[call.path] = False
        return self.skipping[call.path]

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
        if len(below) != 1 or weight_layers(self.modules[below[0]]) < LAYERS_OF_A_BLOCK:
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

    # ------------------------------------------------------------------------------- tokens

    def _in_order(self, shape: MapShape) -> MapShape:
        if not shape.is_tokens or self.order_of_tokens == "rows":
            return shape
        if self.order_of_tokens == "behind":
            raise NotAMap("some of its tokens that have no place in the map stand behind it")
        return replace(shape, in_rows=False)

    @cached_property
    def order_of_tokens(self) -> TokenOrder:
        """How the tokens that the first blocks take follow the rows of the image."""
        paths = [found.path for found in self.explore(self.root) or []]
        for call in sorted((self.calls[path][0] for path in paths), key=lambda c: c.order):
            if call.given is None or call.given.dim() != 3:
                continue
            try:
                shape = self._given_to(call)
            except NotAMap:
                continue
            return token_order(self.model, self.first, call, shape)
        return "rows"

    # ------------------------------------------------------------------------------- stages

    def stages(self) -> tuple[tuple[Stage, ...], tuple[Part, ...]]:
        """Return the stages in the order they run, and blocks in none, for they give no map."""
        blocks = sorted(
            self.explore(self.root) or [], key=lambda found: self.calls[found.path][0].order
        )
        if not blocks:
            wholes = self._plain()
        else:
            groups: dict[str, list[str]] = {}
            for found in blocks:
                groups.setdefault(self._stage_of(found.container), []).append(found.path)
            if len(groups) == 1:  # a name for all of them tells no stages apart
                groups = {}
                for found in blocks:
                    groups.setdefault(found.container, []).append(found.path)
            flat = len(groups) == 1
            wholes = []
            for container, paths in groups.items():
                if flat or not container:
                    wholes += [(run[-1], run) for run in self._runs(paths)]
                else:
                    wholes.append((self._climb(container, groups), paths))
        parts = [(self.part(whole), tuple(map(self.part, paths))) for whole, paths in wholes]
        mapped = [(whole, inside) for whole, inside in parts if _any_map(whole, *inside)]
        stages = tuple(
            Stage(number, whole, inside)
            for number, (whole, inside) in enumerate(mapped or parts, start=1)
        )
        taken = {part.path for stage in stages for part in (stage.whole, *stage.blocks)}
        others = [part for whole, inside in parts for part in inside or (whole,)]
        return stages, tuple(part for part in others if part.path not in taken)

    def _stage_of(self, container: str) -> str:
        """Return the stage that the model itself names around a container, else the container."""
        around = [path for path in self.named_stages if is_inside(container, path)]
        return max(around, key=len, default=container)

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
        return [name for name in names if (f"{path}.{name}" if path else name) in self.modules]

    def _runs(self, paths: Sequence[str]) -> list[list[str]]:
        runs: list[list[str]] = []
        last = None
        for path in paths:
            shape = self.part(path).shape
            if not runs or (shape is not None and last not in (None, shape.size)):
                runs.append([])
            runs[-1].append(path)
            last = shape.size if shape is not None else last
        return runs

    def _plain(self) -> list[tuple[str, list[str]]]:
        """Return stages and blocks of a network whose layers stand in one row.

        A stage ends where the resolution falls, a block before the next layer of weights; there
        are no blocks where the layers don't follow one another. Each is told by its last module.
        """
        trunk = [
            call
            for call in self.trunk
            if len(call.shape or ()) == 4
            and not self._children(call.path)
            and is_inside(call.path, self.root)
        ]
        in_a_row = all(self._follow(a, b) for a, b in pairwise(trunk))
        stages: list[tuple[str, list[str]]] = []
        blocks: list[str] = []
        in_stage = in_block = 0
        for call, following in pairwise(trunk):
            layers = self.layers(call.path)
            in_stage, in_block = in_stage + layers, in_block + layers
            falls = _falls(call.shape, following.shape)
            if in_block and (falls or self.layers(following.path)):
                blocks.append(call.path)
                in_block = 0
            if falls and in_stage and self._follow(call, following):
                stages.append((call.path, blocks if in_a_row else []))
                blocks, in_stage = [], 0
        if not stages and in_stage:  # it never falls
            last = trunk[-1].path
            stages.append((last, [*blocks, last] if in_a_row else []))
        return stages

    def is_norm(self, path: str) -> bool:
        """Return whether a module has weights, if frozen ones, and no layer of them."""
        return has_weights(self.modules[path]) and not self.layers(path)

    def layers(self, path: str) -> int:
        """Return how many layers of weights a module holds of its own."""
        module = self.modules[path]
        ours = sum(weight_layers(child) for child in module.children() if is_inserted(child))
        return weight_layers(module) - ours

    def _follow(self, call: Call, following: Call) -> bool:
        return bool(self._takes(following.path) & self._gives(call.path))

    # -------------------------------------------------------------------------------- shapes

    def given_to(self, path: str) -> MapShape:
        """Return what a module takes, as a feature map.

        Raises:
            NotAMap: it is none, or its axes could not be told apart.
        """
        return self._in_order(self._given_to(self.calls[path][0]))

    def _given_to(self, call: Call) -> MapShape:
        larger = self.larger.get(call.path)
        if call.given is None:
            raise NotAMap("it does not take one tensor first")
        return self.values.shape_of(
            call.path, call.given, larger.given if larger else None, call.order
        )

    def part(self, path: str) -> Part:
        """Return the block or stage at `path` with the shape of what it gives."""
        calls = self.calls[path]
        kind = self._kind(path).__name__
        if len(calls) > 1:
            return Part(path, kind, calls[0], None, f"it runs {len(calls)} times in one pass")
        if calls[0].value is None:
            what = type(calls[0].output).__name__
            return Part(path, kind, calls[0], None, f"it gives a {what}, not one tensor")
        larger = self.larger.get(path)
        try:
            shape = self.values.shape_of(
                path, calls[0].value, larger.value if larger else None, calls[0].order
            )
            shape = self._in_order(shape)
        except NotAMap as why:
            return Part(path, kind, calls[0], None, str(why))
        return Part(path, kind, calls[0], shape)


def _falls(shape: tuple[int, ...] | None, following: tuple[int, ...] | None) -> bool:
    """Return whether a map is much smaller than the one before; a border that is lost is not."""
    if shape is None or following is None:
        return False
    sizes = zip(shape[2:], following[2:], strict=True)
    return any(4 * after <= 3 * before for before, after in sizes)


def _any_map(*parts: Part) -> bool:
    return any(part.shape is not None for part in parts)


def _named_stages(model: nn.Module) -> tuple[str, ...]:
    """Return the modules that timm's models name as what gives the features of a stage."""
    info = getattr(model, "feature_info", None)
    info = getattr(info, "info", info)
    if not isinstance(info, (list, tuple)):
        return ()
    named = [entry.get("module") for entry in info if isinstance(entry, dict)]
    return tuple(path for path in named if isinstance(path, str) and path)
