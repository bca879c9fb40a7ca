"""Where exactly a module goes inside a block or a stage, and why not where it was asked for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

from torch import Tensor, fx, nn

from composer.analysis.anatomy import Anatomy, Part
from composer.analysis.forward import (
    Branch,
    Forward,
    NoSuchBranch,
    Untraceable,
    branch_ends,
    inserted,
    returned,
    value_at,
)
from composer.analysis.values import MapShape, NotAMap, like_map
from composer.errors import listing
from composer.language.position import Spot
from composer.surgery.composition import Position
from composer.surgery.trials import Trials


@dataclass(frozen=True)
class Place:
    """A position inside a part, with the shape of the value there.

    Inside a forward, there are the forwards and where the value is made in each.
    """

    part: Part
    position: Position
    shape: MapShape
    note: str | None = None
    forward: Forward | None = None
    ends: tuple[Branch, Branch] | None = None  # in training, in evaluation


class NoPlace(Exception):  # noqa: N818 - a finding, which the plan reports
    """A part without the place that is wanted; the message says what was seen."""


@dataclass
class Placer:
    """Finds places in the blocks of one model; blocks of equal structure are tried once."""

    model: nn.Module
    known: Anatomy
    trials: Trials = field(default_factory=Trials)

    def place(self, part: Part, position: Position) -> Place:
        """Return where `position` is in a part.

        Where a block's forward can't be traced, or its branch can't be told from its shortcut,
        this is the block's output, and the note says why; where a value is made by a child, it is
        the output of that child.

        Raises:
            NoPlace: there is none such.
        """
        spot = Spot.parse(position)
        if spot.kind == "input":
            return self._input(part)
        if spot.kind == "after":
            assert spot.of is not None
            return self._after(part, spot.of)
        if part.shape is None:
            raise NoPlace(part.refusal or "it gives no map")
        if spot.kind == "output":
            return Place(part, "output", part.shape, _several(part))
        return self._residual(part, part.shape, spot)

    def _residual(self, part: Part, shape: MapShape, spot: Spot) -> Place:
        module = self.model.get_submodule(part.path)

        def instead(reason: str) -> Place:
            if spot.of is not None:
                raise NoPlace(reason)
            return Place(part, "output", shape, f"{reason}; after the block instead")

        try:
            forward = self.known.traces.of(part.call)
        except Untraceable as why:
            return instead(f"the forward can't be traced ({why})")
        try:
            ends = branch_ends(module, forward, part.call.index, spot.of)
        except NoSuchBranch as why:
            raise NoPlace(str(why)) from None
        if ends is None and returned(forward.evaluation, part.call.index) is None:
            return instead("its forward does not make the tuple that it gives by itself")
        if ends is None:
            return instead("the residual branch can't be told from the shortcut")
        reason = self._disagreement(part, forward)
        if reason:
            return instead(reason)
        value = self._value(part, module, forward.evaluation, ends[1].end)
        if value is None:
            return instead("the residual branch gives no tensor")
        found = like_map(shape, tuple(value.shape), part.call.shape)
        if found is None:
            sizes = "×".join(map(str, value.shape))
            return instead(f"the residual branch ends in {sizes}, which could not be read")
        return Place(part, str(spot), found, _remark(ends[1]), forward, ends)

    def _value(
        self, part: Part, module: nn.Module, graph: fx.Graph, node: fx.Node
    ) -> Tensor | None:
        """Return a value of a part's traced forward.

        What a child gives was seen when the model ran, as the traced forward runs too. Of a model
        without numbers the two were not compared, so there it is run.
        """
        if node.op == "call_module" and not any(p.is_meta for p in module.parameters()):
            inside = f"{part.path}." if part.path else ""
            calls = self.known.probe.of(f"{inside}{node.target}")
            if len(calls) == 1 and isinstance(calls[0].output, Tensor):
                return calls[0].output
        return value_at(module, graph, node, part.call)

    def _input(self, part: Part) -> Place:
        """Return the place before everything that a part does, its shortcut too."""
        if not self._takes_first(part):
            raise NoPlace("what it takes is not what its forward names first")
        try:
            shape = self.known.given_to(part.path)
        except NotAMap as why:
            raise NoPlace(f"what it takes can't be read: {why}") from None
        try:
            forward = self.known.traces.of(part.call)
            module = self.model.get_submodule(part.path)
            ends = _taken(module, forward.training), _taken(module, forward.evaluation)
            reason = self._disagreement(part, forward)
        except Untraceable as why:
            reason = str(why)
        if reason:
            note = f"the forward can't be traced ({reason}); in front of it instead"
            return Place(part, "input", shape, note)
        return Place(part, "input", shape, None, forward, ends)

    def _takes_first(self, part: Part) -> bool:
        """Return whether the first thing given to a part is the first that its forward names."""
        forward = self.model.get_submodule(part.path).forward
        try:
            bound = inspect.signature(forward).bind(*part.call.args, **part.call.kwargs)
        except TypeError:
            return False
        first = next(iter(bound.arguments.values()), None)
        first = first[0] if isinstance(first, tuple) and first else first
        return first is part.call.given

    def _after(self, part: Part, name: str) -> Place:
        """Return the place behind a child, in the forward that calls it or as its output."""
        path = self._child(part, name)
        child = self.known.part(path)
        if child.shape is None:
            raise NoPlace(f"{path}: {child.refusal}")
        caller = self.known.caller_of(path)
        own = path.removeprefix(f"{caller.path}.") if caller.path else path
        try:
            forward = self.known.traces.of(caller.call)
            module = self.model.get_submodule(caller.path)
            graphs = forward.training, forward.evaluation
            ends = _given_by(module, graphs[0], own), _given_by(module, graphs[1], own)
            reason = self._disagreement(caller, forward)
        except Untraceable as why:
            reason = f"the forward that calls {own} can't be traced ({why})"
        if reason:
            return Place(child, "output", child.shape, f"{reason}; as the output of {own} instead")
        return Place(caller, f"after:{own}", child.shape, None, forward, ends)

    def _child(self, part: Part, name: str) -> str:
        """Return the path of the child of a name, or of the n-th convolution as ``conv2``."""
        inside = f"{part.path}." if part.path else ""
        paths = (call.path for call in self.known.probe.calls if self.known.knows(call.path))
        called = list(dict.fromkeys(p for p in paths if p.startswith(inside) and p))
        if f"{inside}{name}" in called:
            return f"{inside}{name}"
        convolutions = [
            path for path in called if isinstance(self.model.get_submodule(path), nn.Conv2d)
        ]
        number = name.removeprefix("conv")
        if name.startswith("conv") and number.isdecimal():
            if 0 < int(number) <= len(convolutions):
                return convolutions[int(number) - 1]
            raise NoPlace(f"it has {len(convolutions)} convolutions, and no {name}")
        children = dict.fromkeys(path.removeprefix(inside).partition(".")[0] for path in called)
        raise NoPlace(f"it has no child {name!r}, but {listing(list(children)) or 'none'}")

    def _disagreement(self, part: Part, forward: Forward) -> str | None:
        """Return why a traced forward can't stand for a part's own, or None where it can."""
        module = self.model.get_submodule(part.path)
        layout = part.shape.layout if part.shape is not None else ()
        spatial = tuple(map(layout.index, ("h", "w"))) if "h" in layout else ()
        return self.trials.disagreement(module, forward, part.call, spatial)


def _taken(module: nn.Module, graph: fx.Graph) -> Branch:
    """Return the first thing that a traced forward takes.

    Raises:
        Untraceable: it takes nothing that it reads.
    """
    node = next((n for n in graph.nodes if n.op == "placeholder" and n.users), None)
    if node is None:
        raise Untraceable("it reads nothing that it is given")
    return _behind_edits(module, node)


def _given_by(module: nn.Module, graph: fx.Graph, name: str) -> Branch:
    """Return what a child gives in a traced forward.

    Raises:
        Untraceable: that does not call the child once.
    """
    calls = graph.find_nodes(op="call_module", target=name)
    if len(calls) != 1:
        raise Untraceable(f"it calls it {len(calls)} times")
    return _behind_edits(module, calls[0])


def _behind_edits(module: nn.Module, node: fx.Node) -> Branch:
    """Return where a value is, once what was inserted there before has run."""
    while len(node.users) == 1 and inserted(module, user := next(iter(node.users))):
        node = user
    return Branch(node, tuple(node.users), None)


def _several(part: Part) -> str | None:
    values = part.call.output if part.call.index is not None else ()
    count = sum(isinstance(value, Tensor) and value.dim() > 2 for value in values)
    return f"the first of {count} values" if count > 1 else None


def _remark(branch: Branch) -> str | None:
    if branch.add is None:
        return "no skip: the whole block is the branch"
    return f"the last of {branch.of} residual branches" if branch.of > 1 else None
