"""Finds the blocks and the stages of a backbone; `composer.analysis.anatomy` explains how."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from torch import fx, nn

from composer.analysis.edited import class_before_edits, is_inserted, is_stand_in
from composer.analysis.maps import MapShape, NotAMap, Values
from composer.analysis.parts import LAYERS_OF_A_BLOCK, Part
from composer.analysis.paths import around, is_inside
from composer.analysis.probe import Call, Probe
from composer.analysis.recording import Untraceable
from composer.analysis.residual import Branch, adds_two_values, branch_end, takes_two_ways
from composer.analysis.token_order import TokenOrder, token_order
from composer.analysis.traces import Traces
from composer.analysis.weight_layers import has_weights, weight_layers
from composer.measure.cost import FakeRun


@dataclass(frozen=True)
class Found:
    """A block with the module that contains it."""

    path: str
    container: str


class Explorer:
    """Inspects one model, and caches the results."""

    def __init__(self, model: nn.Module, first: Probe, second: Probe | None, run: FakeRun) -> None:
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
        self.trunk = tuple(
            call for call in first.calls if call.path in self.modules and call.sees_image
        )
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
        self.explored: dict[str, list[Found] | None] = {}
        self.larger = {c.path: c for c in second.calls} if second else {}
        self.values = Values(model, first, second)
        self.named_stages = _named_stages(model)

    def _root(self) -> str:
        """Return the module with the stages: the model, or a backbone that passes maps to heads."""
        several = [p for p in ("backbone",) if p in self.calls and self.calls[p][0].value is None]
        return several[0] if several else ""

    @property
    def is_traced(self) -> bool:
        """Return whether torch.fx traced the model through modules in it, which then do not run."""
        if not isinstance(self.model, fx.GraphModule):
            return False
        return any(
            path not in self.calls and self.children(path)
            for path in self.modules
            if path and any(is_inside(called, path) for called in self.calls)
        )

    # ------------------------------------------------------------------------------- blocks

    def units(self, path: str) -> list[str]:
        """Return what runs directly inside `path`, one after another, and could be a block."""
        inside = [
            p
            for p in self._giving_below(path)
            if self.may_be_a_map(self.calls[p][0].shape)
            and weight_layers(self.modules[p]) >= LAYERS_OF_A_BLOCK
        ]
        inside.sort(key=lambda p: self.calls[p][0].order)
        together = Counter(map(self.takes, inside))
        return [p for p in inside if together[self.takes(p)] == 1]

    def _giving_below(self, path: str) -> list[str]:
        """Return the nearest modules below that give a map.

        A module that outputs a vector, as a backbone with a head does, or a record is opened.
        """
        found: list[str] = []
        for child in self._called_below(path):
            if self.may_be_a_map(self.calls[child][0].shape):
                found.append(child)
                continue
            found += [p for p in self._giving_below(child) if not self._is_one_place(p)] or [child]
        return found

    def _is_one_place(self, path: str) -> bool:
        """Return whether a module works on one token or place, as in a head after pooling."""
        shape = self.calls[path][0].shape or ()
        return (len(shape) == 3 and 1 in shape[1:]) or (len(shape) > 3 and set(shape[2:]) == {1})

    def _called_below(self, path: str) -> list[str]:
        """Return the nearest modules below that were called; a bare list is looked through."""
        found: list[str] = []
        for name, _ in self.modules[path].named_children():
            child = f"{path}.{name}" if path else name
            if child not in self.modules:
                continue  # inserted, or shared and known under its first path
            if child not in self.calls:
                found += self._called_below(child)
            elif not self._is_lent(child):
                found.append(child)
        return found

    def may_be_a_map(self, shape: tuple[int, ...] | None) -> bool:
        """Return whether a shape may be that of one image's map or tokens."""
        if shape is None or len(shape) not in self.values.axes_of_maps:
            return False
        return shape[0] in self.first.batches

    def _is_lent(self, path: str) -> bool:
        """Return whether several other modules call this one as a shared part."""
        calls = self.calls[path]
        return len(calls) > 1 and not any(is_inside(path, call.caller) for call in calls)

    def explore(self, path: str) -> list[Found] | None:
        """Return the blocks below a module, or None where it can't be divided."""
        if path not in self.explored:
            self.explored[path] = self._explore(path)
        return self.explored[path]

    def _explore(self, path: str) -> list[Found] | None:
        inner = {u: None if self._skips(u) else self.explore(u) for u in self.units(path)}
        units = [u for u in inner if inner[u] is not None or not self._embeds(u)]
        whole = [u for u in units if inner[u] is None]
        kinds = Counter(self._kind(u) for u in whole)
        apart = len(whole) < len(units)
        kinds_apart = {self._kind(u) for u in units if inner[u] is not None}
        siblings = max(kinds.values(), default=0) > 1 or any(map(self._skips, units))
        if not apart and not siblings:
            return None
        found: list[Found] = []
        for unit in units:
            blocks = inner[unit]
            if blocks is not None:
                found += blocks
            elif (only := self._only_child(unit)) is not None:
                found.append(Found(only, unit))
            elif self._skips(unit) or (not apart and (kinds[self._kind(unit)] > 1 or found)):
                found.append(Found(unit, path))
            elif self._kind(unit) in kinds_apart:
                found += [Found(block, unit) for block in self._in_a_row(unit)]
        return found or None

    def _embeds(self, path: str) -> bool:
        """Return whether a module turns a map into tokens, as the stem does."""
        call = self.calls[path][0]
        axes = 2 + self.first.dimensions
        return call.given is not None and call.given.dim() == axes > len(call.shape or ()) == 3

    def _in_a_row(self, path: str) -> list[str]:
        """Return what runs inside a stage whose children are of different kinds, without skips."""
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

        A module that takes a list of maps and adds some, as in HRNet, has no shortcut.
        """
        if call.given is None:
            return False
        if call.path not in self.skipping:
            try:
                graph = self.traces.evaluation(call)
                branch = branch_end(self.model.get_submodule(call.path), graph, call.index)
                self.skipping[call.path] = branch is not None and (
                    branch.add is not None or self._is_added_in_a_child(call.path, branch)
                )
            except Untraceable:
                self.skipping[call.path] = False
        return self.skipping[call.path]

    def _is_added_in_a_child(self, path: str, branch: Branch) -> bool:
        """Return whether a forward ends in a child that adds two of the values it is given."""
        if not takes_two_ways(branch.end):
            return False
        inside = f"{path}.{branch.end.target}" if path else str(branch.end.target)
        calls = self.calls.get(inside)
        if calls is None or not self.skips(calls[0]):
            return False
        graph = self.traces.evaluation(calls[0])
        own = branch_end(self.model.get_submodule(inside), graph, calls[0].index)
        if own is None or own.add is None:
            return own is not None and self._is_added_in_a_child(inside, own)
        return adds_two_values(own.add)  # else it has its own shortcut

    def gives(self, path: str) -> frozenset[int]:
        """Return the output tensors of a module, as before insertions after it."""
        return frozenset(map(self._unedited, self.calls[path][0].outputs))

    def takes(self, path: str) -> frozenset[int]:
        """Return the input tensors of a module, as before insertions."""
        return frozenset(map(self._unedited, self.calls[path][0].inputs))

    def _unedited(self, tensor: int) -> int:
        while tensor in self.before:
            tensor = self.before[tensor]
        return tensor

    def _only_child(self, path: str) -> str | None:
        """Return the only block of a container that adds nothing to it, if there is one."""
        below = self._called_below(path)
        if len(below) != 1 or weight_layers(self.modules[below[0]]) < LAYERS_OF_A_BLOCK:
            return None
        plain = self._kind(path).forward is nn.Sequential.forward
        siblings_hold = any(
            self._kind(p) is self._kind(path) and p != path and self._holds(p)
            for p in self._beside(path)
        )
        same = self.takes(path) == self.takes(below[0])
        same = same and self.gives(path) == self.gives(below[0])
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
            raise NotAMap("some of its tokens without a place in the map come after the others")
        return replace(shape, in_rows=False)

    @cached_property
    def order_of_tokens(self) -> TokenOrder:
        """How the input tokens of the first blocks follow the rows of the image."""
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

    def children(self, path: str) -> list[str]:
        """Return the names of a module's own children, without what was inserted."""
        names = (name for name, _ in self.modules[path].named_children())
        return [name for name in names if (f"{path}.{name}" if path else name) in self.modules]

    def is_norm(self, path: str) -> bool:
        """Return whether a module has weights, even frozen ones, but no layer of weights."""
        return has_weights(self.modules[path]) and not self.layers(path)

    def layers(self, path: str) -> int:
        """Return the number of a module's own layers of weights."""
        module = self.modules[path]
        ours = sum(weight_layers(child) for child in module.children() if is_inserted(child))
        return weight_layers(module) - ours

    def follow(self, call: Call, following: Call) -> bool:
        """Return whether a call's input is another's output."""
        return bool(self.takes(following.path) & self.gives(call.path))

    # -------------------------------------------------------------------------------- shapes

    def given_to(self, path: str) -> MapShape:
        """Return a module's input as a feature map.

        Raises:
            NotAMap: it is not a map, or its axes could not be identified.
        """
        return self._in_order(self._given_to(self.calls[path][0]))

    def _given_to(self, call: Call) -> MapShape:
        larger = self.larger.get(call.path)
        if call.given is None:
            raise NotAMap("its first input is not one tensor")
        return self.values.shape_of(
            call.path, call.given, larger.given if larger else None, call.order
        )

    def part(self, path: str) -> Part:
        """Return the block or stage at `path` with the shape of its output."""
        calls = self.calls[path]
        kind = self._kind(path).__name__
        if len(calls) > 1 and not self._of_a_trunk(path):
            return Part(path, kind, calls[0], None, f"it runs {len(calls)} times in one pass")
        if calls[0].value is None:
            what = type(calls[0].output).__name__
            return Part(path, kind, calls[0], None, f"it returns a {what}, not one tensor")
        larger = self.larger.get(path)
        try:
            shape = self.values.shape_of(
                path, calls[0].value, larger.value if larger else None, calls[0].order
            )
            shape = self._in_order(shape)
        except NotAMap as why:
            return Part(path, kind, calls[0], None, str(why))
        return Part(path, kind, calls[0], shape, times=len(calls))

    def _of_a_trunk(self, path: str) -> bool:
        """Return whether a module runs once per run of an enclosing one that runs several times.

        As in siamese networks, whose trunk sees one image after another.
        """
        calls = self.calls[path]
        alike = len({call.shape for call in calls}) == 1
        above = [self.calls.get(trunk, []) for trunk in around(path)[1:-1]]
        return alike and any(len(its) == len(calls) for its in above)


def _named_stages(model: nn.Module) -> tuple[str, ...]:
    """Return the modules that timm's models declare as the outputs of their stages."""
    info = getattr(model, "feature_info", None)
    info = getattr(info, "info", info)
    if not isinstance(info, (list, tuple)):
        return ()
    named = [entry.get("module") for entry in info if isinstance(entry, dict)]
    return tuple(path for path in named if isinstance(path, str) and path)
