"""Where exactly a module goes inside a block or a stage, and why not at the requested position."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

from torch import Tensor, fx, nn

from composer.analysis.maps import CONVOLUTIONS, MapShape, NotAMap, like_map
from composer.analysis.parts import Anatomy, Part
from composer.analysis.paths import around
from composer.analysis.recording import VALUE, Untraceable
from composer.analysis.residual import (
    Branch,
    NoSuchBranch,
    branch_ends,
    ends_beside_input,
    returned,
    takes_two_ways,
)
from composer.analysis.traces import Forward
from composer.analysis.weight_layers import calls_inserted
from composer.errors import listing
from composer.language.position import Position
from composer.surgery.change import Appended, Change, Surrounding, WrittenIn
from composer.surgery.source import NoSource
from composer.surgery.trial import Trials, lost_in, passed_in
from composer.surgery.wrapping import loops_without, ways_to_write


@dataclass(frozen=True)
class Place:
    """A position inside a part, the shape of the value there, and the change that it needs."""

    part: Part
    position: str
    shape: MapShape
    change: Change
    note: str | None = None


class NoPlace(Exception):  # noqa: N818 - a finding, which the plan reports
    """A part without the requested position; the message says what was seen."""


class Placer:
    """Finds positions in the blocks of one model; of equal changes, only one is tried."""

    def __init__(self, model: nn.Module, known: Anatomy) -> None:
        self.model, self.known = model, known
        self.trials = Trials(known.traces.run, known.probe)
        self._passed: dict[object, bool] = {}

    def place(self, part: Part, position: Position) -> Place:
        """Return where `position` is in a part.

        Where a block's branch can't be distinguished from its shortcut, or its forward can't be
        edited there, this is the block's output, and the note says why; where a child makes the
        value, it is the output of that child.

        Raises:
            NoPlace: there is no such position.
        """
        if position.kind == "input":
            return self._input(part)
        if position.kind == "after":
            assert position.of is not None
            return self._after(part, position.of)
        if part.shape is None:
            raise NoPlace(part.refusal or "it outputs no feature map")
        if position.kind == "output":
            return self._output(part, part.shape, _several(part))
        return self._residual(part, part.shape, position)

    # ----------------------------------------------------------------------- residual branch

    def _residual(self, part: Part, shape: MapShape, position: Position) -> Place:
        module = self.model.get_submodule(part.path)

        def instead(reason: str) -> Place:
            if position.of is not None:
                raise NoPlace(reason)
            return self._output(part, shape, f"{reason}; after the block instead")

        try:
            forward = self.known.traces.of(part.call)
        except Untraceable as why:
            return instead(f"its forward can't be traced ({why})")
        try:
            ends = branch_ends(module, forward, part.call.index, position.of)
        except NoSuchBranch as why:
            raise NoPlace(str(why)) from None
        if ends is None and returned(forward.evaluation, part.call.index) is None:
            return instead("its forward does not build its output tuple itself")
        if ends is None:
            return instead("the residual branch can't be distinguished from the shortcut")
        if (ends[0].add is None) is not (ends[1].add is None):
            return instead("it has a skip connection only in training or only in evaluation")
        if (adding := self._adding(part, ends[1])) is not None:
            return adding
        note = _remark(ends[1])
        beside = ends_beside_input(module, forward, part.call.index)
        if ends[1].add is None and beside is not None:
            ends, note = beside, "its output includes its input, which goes past the insertion"
        found = self._shape_in(part, shape, forward, ends[1].end)
        if isinstance(found, str):
            return instead(found)
        if ends[1].add is None and _is_returned(module, forward, ends, part.call.index):
            whole = self._output(part, found, note)
            return Place(part, position, found, whole.change, whole.note)
        change = self._written(part, forward, ends)
        if isinstance(change, str):
            return instead(change)
        return Place(part, position, found, change, note)

    def _adding(self, part: Part, end: Branch) -> Place | None:
        """Return the position inside a child that takes the branch and the shortcut and adds them.

        As in the blocks of a BERT-like transformer: ``self.output(hidden, shortcut)``.
        """
        node = end.end
        if end.add is not None or not takes_two_ways(node):
            return None
        child = self.known.part(f"{part.path}.{node.target}" if part.path else str(node.target))
        if child.shape is None or not self.known.skips(child.call):
            return None
        place = self._residual(child, child.shape, Position("residual"))
        return replace(place, note=f"the residual add is in {node.target}")

    def _shape_in(
        self, part: Part, shape: MapShape, forward: Forward, node: fx.Node
    ) -> MapShape | str:
        """Return the shape of a value inside a block, or why it has none."""
        value = node.meta.get(VALUE)
        if not isinstance(value, Tensor):
            return "the residual branch outputs no tensor"
        sizes = tuple(value.shape)
        if forward.batch > 1 and sizes and sizes[0] == forward.batch:
            sizes = (1, *sizes[1:])
        found = like_map(shape, sizes, part.call.shape)
        if found is None:
            shown = "×".join(map(str, sizes))
            return f"the residual branch ends in {shown}, which could not be read"
        return found

    def _written(
        self, part: Part, forward: Forward, ends: tuple[Branch, Branch]
    ) -> WrittenIn | str:
        """Return the change of an owner's source for a value in its forward, or why none exists."""
        module = self.model.get_submodule(part.path)
        fault = None
        try:
            for change in ways_to_write(module, ends):
                why = self._fault(part, change, forward, ends)
                if why is None:
                    return change
                fault = fault or why
        except NoSource as why_not:
            return f"its forward can't be edited ({why_not})"
        return fault or "no expression in its forward has that value"

    # ----------------------------------------------------------------------------- both ends

    def _output(self, part: Part, shape: MapShape, note: str | None) -> Place:
        """Return the position after everything that a part does.

        Raises:
            NoPlace: an insertion there would be lost, or would not run as it should.
        """
        module, index = self.model.get_submodule(part.path), part.call.index
        if type(module).forward is nn.Sequential.forward and index is None:
            return Place(part, "output", shape, Appended(), note)
        return Place(part, "output", shape, self._surrounding(part, "output", index), note)

    def _input(self, part: Part) -> Place:
        """Return the position before everything that a part does, its shortcut included."""
        if not self._takes_first(part):
            raise NoPlace("its input is not the first argument of its forward")
        try:
            shape = self.known.given_to(part.path)
        except NotAMap as why:
            raise NoPlace(f"its input can't be read: {why}") from None
        return Place(part, "input", shape, self._surrounding(part, "input", None))

    def _surrounding(self, part: Part, end: str, index: int | None) -> Change:
        try:
            forward = self.known.traces.of(part.call)
        except Untraceable:
            forward = None
        change = Surrounding("input" if end == "input" else "output", index)
        fault = self._fault(part, change, forward, None)
        if fault is None:
            return change
        try:
            loops = loops_without(self.model.get_submodule(part.path))
        except NoSource:
            loops = ()
        change = replace(change, loops=loops)
        if not loops or self._fault(part, change, forward, None) is not None:
            raise NoPlace(fault)
        return change

    def _takes_first(self, part: Part) -> bool:
        """Return whether a part's first input is the first argument of its forward."""
        forward = self.model.get_submodule(part.path).forward
        try:
            bound = inspect.signature(forward).bind(*part.call.args, **part.call.kwargs)
        except TypeError:
            return False
        first = next(iter(bound.arguments.values()), None)
        first = first[0] if isinstance(first, tuple) and first else first
        return first is part.call.given

    # ------------------------------------------------------------------------ after a child

    def _after(self, part: Part, name: str) -> Place:
        """Return the position after a child, in the forward that calls it or as its output."""
        path = self._child(part, name)
        child = self.known.part(path)
        if child.shape is None:
            raise NoPlace(f"{path}: {child.refusal}")
        caller = self.known.caller_of(path)
        own = path.removeprefix(f"{caller.path}.") if caller.path else path
        module = self.model.get_submodule(caller.path)
        change: WrittenIn | str
        try:
            forward = self.known.traces.of(caller.call)
            graphs = forward.training, forward.evaluation
            ends = _given_by(module, graphs[0], own), _given_by(module, graphs[1], own)
            change = self._written(caller, forward, ends)
        except Untraceable as why:
            change = f"the forward that calls {own} can't be traced ({why})"
        if isinstance(change, str):
            note = f"{change}; as the output of {own} instead"
            return self._output(child, child.shape, note)
        return Place(caller, f"after:{own}", child.shape, change)

    def _child(self, part: Part, name: str) -> str:
        """Return the path of the child with a name, or of the n-th convolution for ``conv2``."""
        inside = f"{part.path}." if part.path else ""
        paths = (call.path for call in self.known.probe.calls if self.known.knows(call.path))
        called = list(dict.fromkeys(p for p in paths if p.startswith(inside) and p))
        if f"{inside}{name}" in called:
            return f"{inside}{name}"
        kind = CONVOLUTIONS[self.known.probe.dimensions]
        convolutions = [path for path in called if isinstance(self.model.get_submodule(path), kind)]
        number = name.removeprefix("conv")
        if name.startswith("conv") and number.isdecimal():
            if 0 < int(number) <= len(convolutions):
                return convolutions[int(number) - 1]
            raise NoPlace(f"it has {len(convolutions)} convolutions, and no {name}")
        children = dict.fromkeys(path.removeprefix(inside).partition(".")[0] for path in called)
        raise NoPlace(f"it has no child {name!r}, but {listing(list(children)) or 'none'}")

    # -------------------------------------------------------------------------------- trials

    def _fault(
        self,
        part: Part,
        change: Change,
        forward: Forward | None,
        ends: tuple[Branch, Branch] | None,
    ) -> str | None:
        module = self.model.get_submodule(part.path)
        layout = part.shape.layout if part.shape is not None else ()
        spatial = tuple(n for n, axis in enumerate(layout) if axis not in ("b", "c", "n"))
        fault = self.trials.fault(module, forward, part.call, change, spatial, ends)
        return fault or self._lost_around(part, module, change)

    def _lost_around(self, part: Part, module: nn.Module, change: Change) -> str | None:
        """Return which module around an owner may bypass or omit it, or None."""
        for path in around(part.path)[1:-1]:
            if self.known.knows(path):
                holder = self.model.get_submodule(path)
                inside = part.path.removeprefix(f"{path}.")
                if fault := lost_in(holder, self.known.part(path).call, inside, change):
                    return fault
        if not module._parameters or not part.path:
            return None
        caller = self.known.caller_of(part.path)
        key = type(self.model.get_submodule(caller.path)), part.path.rpartition(".")[2], change
        if key not in self._passed:
            holder = self.model.get_submodule(caller.path)
            inside = part.path.removeprefix(f"{caller.path}.") if caller.path else part.path
            self._passed[key] = passed_in(holder, caller.call, inside, change)
        if self._passed[key]:
            return f"without gradients {caller.kind} bypasses what is inserted"
        return None


def _given_by(module: nn.Module, graph: fx.Graph, name: str) -> Branch:
    """Return a child's output in a forward, after what was inserted behind it has run.

    Raises:
        Untraceable: the forward does not call the child once.
    """
    calls = graph.find_nodes(op="call_module", target=name)
    if len(calls) != 1:
        raise Untraceable(f"it calls it {len(calls)} times")
    node = calls[0]
    while len(node.users) == 1 and calls_inserted(module, user := next(iter(node.users))):
        node = user
    return Branch(node, tuple(node.users), None)


def _is_returned(
    module: nn.Module, forward: Forward, ends: tuple[Branch, Branch], index: int | None
) -> bool:
    """Return whether a branch ends in the output of the forward, in both modes."""
    graphs = (forward.training, forward.evaluation)
    for graph, end in zip(graphs, ends, strict=True):
        node = returned(graph, index)
        while node is not None and node is not end.end and _is_identity(module, node):
            (node,) = node.all_input_nodes
        if node is not end.end:
            return False
    return True


def _is_identity(module: nn.Module, node: fx.Node) -> bool:
    called = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    return isinstance(called, nn.Identity) and len(node.all_input_nodes) == 1


def _several(part: Part) -> str | None:
    values = part.call.output if part.call.index is not None else ()
    count = sum(isinstance(value, Tensor) and value.dim() > 2 for value in values)
    return f"the first of {count} values" if count > 1 else None


def _remark(branch: Branch) -> str | None:
    if branch.add is None:
        return "no skip connection: the whole block is the branch"
    return f"the last of {branch.of} residual branches" if branch.of > 1 else None
