"""A stand-in in place of a layer, with what it absorbs, and the value that several share.

The stand-in has the layer's path. A norm or an activation that it absorbs becomes `nn.Identity`
where nothing else calls it; else the forward that called it is edited to skip it. A module that
several stand-ins of a block share is a child of the block, called once on its input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from composer.analysis.edited import MARK, STAND_IN, Before
from composer.analysis.probe import Call
from composer.analysis.recording import Untraceable, numbered
from composer.analysis.traces import (
    EVALUATION,
    TRAINING,
    Forward,
    Traces,
    recorded,
    recorded_forward,
)
from composer.analysis.weight_layers import weight_layers
from composer.lower.identity import Original
from composer.lower.like import ANY_CONVOLUTION
from composer.surgery.absorbed import Absorbed, absorbed_in_both, function_of, held_activation
from composer.surgery.change import WrittenIn, edits_with
from composer.surgery.composition import At, EditedSite
from composer.surgery.edited_class import Edits, edits_of, put_edits
from composer.surgery.same_call import called_as
from composer.surgery.source import CHILD, Splice
from composer.surgery.trial import TRIED, changed
from composer.surgery.wrapping import given_besides, passed_by

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Replacement:
    """How a layer is replaced: its caller, what is removed with it, and its further inputs.

    `layer` is its path, and `name` the path from the module that calls it. `absorbed` are the paths
    of absorbed modules that nothing else calls; `inside` are all calls in the module that calls the
    layer. `at` is the kind of layer, or any module.
    """

    layer: str
    call: Call
    caller: Call
    name: str
    absorb: tuple[str, ...] = ()
    absorbed: tuple[str, ...] = ()
    bypasses: bool = False
    at: At = "conv"
    inside: Mapping[str, Sequence[Call]] = field(default_factory=dict, repr=False, compare=False)

    def put(self, model: nn.Module, module: fx.GraphModule) -> None:
        """Put a module in place of the layer."""
        owner = model.get_submodule(self.caller.path)
        before = model.get_submodule(self.layer)
        module.meta[STAND_IN] = Before(None, weight_layers(before), self.at)
        if isinstance(before, ANY_CONVOLUTION):
            module.meta[STAND_IN] = Before(
                before.in_channels, weight_layers(before), self.at, len(before.kernel_size)
            )
        called_as(module, before, self.call, pools=self.at == "pool")
        if self.bypasses:
            forward = recorded_forward(owner, self.caller, inside=self.inside)
            change = self.bypass(owner, forward)
            put_edits(owner, edits_with(owner, change, ""))
        model.set_submodule(self.layer, module)
        for path in self.absorbed:
            identity = nn.Identity().train(model.get_submodule(path).training)
            model.set_submodule(path, identity)

    def bypass(self, owner: nn.Module, forward: Forward) -> WrittenIn:
        """Return the change by which the module that calls the layer skips what it absorbs.

        Raises:
            NoSource: its source can't be edited so.
        """
        found = absorbed_in_both(owner, forward, self.name, self.absorb)
        gone = [node for one in found for node in self._gone(one)]
        return WrittenIn(tuple(passed_by(owner, gone).items()))

    def bypass_fault(self, owner: nn.Module, traces: Traces) -> str | None:
        """Return why that change does not work, or None where it does.

        Raises:
            NoSource: see `bypass`.
        """
        forward = traces.of(self.caller)
        found = absorbed_in_both(owner, forward, self.name, self.absorb)
        graphs = (forward.training, forward.evaluation)
        wanted = [_without(g, self._gone(one)) for g, one in zip(graphs, found, strict=True)]
        return _fault(owner, self.caller, traces, self.bypass(owner, forward), wanted)

    def _gone(self, found: Absorbed) -> list[fx.Node]:
        """Return what the caller skips; modules that nothing else calls are replaced."""
        kept = {path.removeprefix(f"{self.caller.path}.") for path in self.absorbed}
        return [n for n in found.nodes if n.op != "call_module" or str(n.target) not in kept]

    def edits(self, model: nn.Module) -> tuple[tuple[str, Edits], ...]:
        """Return the edits of the module before this one."""
        path = self.caller.path
        return ((path, edits_of(model.get_submodule(path))),) if self.bypasses else ()

    def original(self, model: nn.Module) -> Original:
        """Return what it replaces, to run on its own: on the CPU, in float64."""
        owner = model.get_submodule(self.caller.path)
        layer = _double(model.get_submodule(self.layer))
        if not self.absorb:
            return Original(layer, steps=(layer,))
        forward = recorded_forward(owner, self.caller, inside=self.inside)
        _, found = absorbed_in_both(owner, forward, self.name, self.absorb)
        functions = [_double(function_of(owner, node)) for node in found.nodes]
        norm = functions[0] if found.norm is not None else None
        act = functions[-1] if found.act is not None else None
        assert norm is None or isinstance(norm, nn.Module)
        held = held_activation(norm) if norm is not None else None
        return Original(layer, norm, act or held, (layer, *functions))

    def replaced(self, model: nn.Module) -> tuple[tuple[str, nn.Module], ...]:
        """Return what it replaces, before the replacement."""
        return tuple((path, model.get_submodule(path)) for path in (self.layer, *self.absorbed))


def put_shared(
    owner: nn.Module,
    call: Call,
    inside: Mapping[str, Sequence[Call]],
    name: str,
    module: fx.GraphModule,
    users: Sequence[str],
) -> None:
    """Put a module into a block; its output on the block's input is passed to the stand-ins.

    Args:
        owner: the block.
        call: of the block.
        inside: the calls in it.
        name: the module's name there.
        module: makes the value.
        users: the paths of the stand-ins, from the block.
    """
    change = _sharing(owner, recorded_forward(owner, call, inside=inside), users)
    module.meta[MARK] = True
    edits = edits_with(owner, change, name)
    owner.add_module(name, module)
    put_edits(owner, edits)


def sharing_fault(owner: nn.Module, call: Call, traces: Traces, users: Sequence[str]) -> str | None:
    """Return why a value can't be given to some calls of a block, or None where it can.

    Raises:
        NoSource: the block's source can't be edited so.
    """
    forward = traces.of(call)
    graphs = (forward.training, forward.evaluation)
    wanted = [_with_value(graph, users) for graph in graphs]
    return _fault(owner, call, traces, _sharing(owner, forward, users), wanted)


def _sharing(owner: nn.Module, forward: Forward, users: Sequence[str]) -> WrittenIn:
    methods: dict[str, set[Splice]] = {}
    for graph in (forward.training, forward.evaluation):
        calls = [node for user in users for node in graph.find_nodes(op="call_module", target=user)]
        for name, splices in given_besides(owner, calls, f"{CHILD}_value").items():
            methods.setdefault(name, set()).update(splices)
    return WrittenIn(tuple((name, tuple(splices)) for name, splices in methods.items()))


def _fault(
    owner: nn.Module, call: Call, traces: Traces, change: WrittenIn, wanted: Sequence[fx.Graph]
) -> str | None:
    """Return how an edited forward takes other steps than it should, in either mode."""
    run, inside = traces.run.inside(call.path), traces.probe.inside(call.path)
    batch = traces.of(call).batch
    for mode, expected in zip((TRAINING, EVALUATION), wanted, strict=True):
        try:
            with changed(owner, change):
                found = recorded(owner, call, mode, run, 0, batch, inside)
        except Untraceable as why:
            return f"its edited forward fails ({why})"
        numbers: dict[str, int] = {}
        steps = [sorted(numbered(graph, numbers).values()) for graph in (expected, found)]
        if steps[0] != steps[1]:
            return f"its edited forward takes other steps in {mode}"
    return None


def put_back(model: nn.Module, site: EditedSite) -> None:
    """Restore what a stand-in replaced, on its device and in its dtype and mode."""
    own, was = (_floating(m) for m in (model.get_submodule(site.path), site.replaced[0][1]))
    now = _floating(model) if own is None else own
    for path, module in site.replaced:
        if now is not None and was is not None:
            same = own is None or now.dtype == was.dtype
            module.to(now.device, None if same else now.dtype)
        module.train(model.get_submodule(path).training)
        model.set_submodule(path, module)


def _double(function: F) -> F:
    """Return a copy of a module on the CPU in float64; a function as it is."""
    if not isinstance(function, nn.Module):
        return function
    return copy.deepcopy(function).to("cpu", torch.float64)


def _floating(module: nn.Module) -> Tensor | None:
    """Return a detached parameter that has a module's device and dtype."""
    found = next((p for p in module.parameters() if p.is_floating_point()), None)
    return None if found is None else found.detach()


def _without(graph: fx.Graph, gone: Sequence[fx.Node]) -> fx.Graph:
    """Return a copy of a graph without some steps, each replaced by its input."""
    copied = fx.Graph()
    places: dict[fx.Node, fx.Node] = {}
    copied.output(copied.graph_copy(graph, places))
    for node in gone:
        place = places[node]
        place.replace_all_uses_with(place.all_input_nodes[0])
        copied.erase_node(place)
    return copied


def _with_value(graph: fx.Graph, users: Sequence[str]) -> fx.Graph:
    """Return a copy of a graph that gives a value made from its input to some of its calls."""
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph, {}))
    given = list(copied.find_nodes(op="placeholder"))
    with copied.inserting_after(given[-1]):
        value = copied.call_module(TRIED, (given[0],))
    for user in users:
        (call,) = copied.find_nodes(op="call_module", target=user)
        call.args = (*call.args, value)
    return copied
