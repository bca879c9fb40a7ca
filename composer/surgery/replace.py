"""A stand-in in a layer's own place, with what it absorbs, and the value that several share.

The stand-in has the layer's path. A norm or an activation that it absorbs becomes `nn.Identity`
where nothing else calls it; else the forward that called it is edited to pass it by. A module
that several stand-ins of a block share is a child of the block, called once on its input.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from composer.analysis.edited import MARK, STAND_IN, Before
from composer.analysis.forward import must_be, trace, weight_layers
from composer.analysis.probe import Call
from composer.lower.begin import Original
from composer.surgery.composition import EditedSite
from composer.surgery.edit import Editor
from composer.surgery.follow import Following, follow_both, function_of, held_activation

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Replacement:
    """How a layer is replaced: what calls it, what goes with it, what it is given besides.

    `layer` is its path, and `name` that from the module that calls it. Of what it absorbs,
    `absorbed` are the paths of modules that nothing else calls.
    """

    layer: str
    call: Call
    caller: Call
    name: str
    absorb: tuple[str, ...] = ()
    absorbed: tuple[str, ...] = ()
    bypasses: bool = False

    def put(self, model: nn.Module, module: fx.GraphModule, editor: Editor) -> None:
        """Put a module in place of the layer."""
        owner = model.get_submodule(self.caller.path)
        before = model.get_submodule(self.layer)
        channels = before.in_channels if isinstance(before, nn.Conv2d) else None
        module.meta[STAND_IN] = Before(channels, weight_layers(before))
        _accept(module, before, self.call)
        if self.bypasses:
            forward = trace(owner, self.caller)
            found = follow_both(owner, forward, self.name, self.absorb)
            kept = {path.removeprefix(f"{self.caller.path}.") for path in self.absorbed}
            training = _without(forward.training, found[0], kept)
            evaluation = _without(forward.evaluation, found[1], kept)
            owner.__class__ = editor.class_with(owner, training, evaluation)
        model.set_submodule(self.layer, module)
        for path in self.absorbed:
            identity = nn.Identity().train(model.get_submodule(path).training)
            model.set_submodule(path, identity)

    def classes(self, model: nn.Module) -> tuple[tuple[str, type[nn.Module]], ...]:
        """Return the class of the module that is edited, before it is."""
        path = self.caller.path
        return ((path, type(model.get_submodule(path))),) if self.bypasses else ()

    def original(self, model: nn.Module) -> Original:
        """Return what it takes the place of, to run by itself: on the CPU, in float64."""
        owner = model.get_submodule(self.caller.path)
        layer = _double(model.get_submodule(self.layer))
        if not self.absorb:
            return Original(layer, steps=(layer,))
        forward = trace(owner, self.caller)
        _, found = follow_both(owner, forward, self.name, self.absorb)
        functions = [_double(function_of(owner, node)) for node in found.nodes]
        norm = functions[0] if found.norm is not None else None
        act = functions[-1] if found.act is not None else None
        assert norm is None or isinstance(norm, nn.Module)
        held = held_activation(norm) if norm is not None else None
        return Original(layer, norm, act or held, (layer, *functions))

    def replaced(self, model: nn.Module) -> tuple[tuple[str, nn.Module], ...]:
        """Return what it takes the place of, before it is put there."""
        return tuple((path, model.get_submodule(path)) for path in (self.layer, *self.absorbed))


def put_shared(
    owner: nn.Module,
    call: Call,
    name: str,
    module: fx.GraphModule,
    users: Sequence[str],
    editor: Editor,
) -> None:
    """Put a module into a block, whose value on the block's input is given to its stand-ins.

    Args:
        owner: the block.
        call: of the block.
        name: what the module is called there.
        module: what makes the value.
        users: the paths of the stand-ins, from the block.
        editor: of this insertion.
    """
    forward = trace(owner, call)
    module.meta[MARK] = True
    owner.add_module(name, module)
    graphs = (_sharing(graph, name, users) for graph in (forward.training, forward.evaluation))
    owner.__class__ = editor.class_with(owner, *graphs)


def put_back(model: nn.Module, site: EditedSite) -> None:
    """Put what a stand-in replaced in its place again, on its device and in its dtype and mode."""
    now, was = (_floating(m) for m in (model.get_submodule(site.path), site.replaced[0][1]))
    for path, module in site.replaced:
        if now is not None and was is not None:
            module.to(now.device, None if now.dtype == was.dtype else now.dtype)
        module.train(model.get_submodule(path).training)
        model.set_submodule(path, module)


def _double(function: F) -> F:
    """Return a copy of a module on the CPU in float64; a function as it is."""
    if not isinstance(function, nn.Module):
        return function
    return copy.deepcopy(function).to("cpu", torch.float64)


def _floating(module: nn.Module) -> Tensor | None:
    """Return a parameter that tells a module's device and dtype, detached from what it becomes."""
    found = next((p for p in module.parameters() if p.is_floating_point()), None)
    return None if found is None else found.detach()


def _accept(module: fx.GraphModule, before: nn.Module, call: Call) -> None:
    """Let a module be called as the layer was: with further arguments, at the values they had."""
    signature = inspect.signature(before.forward)
    taken = signature.bind(*call.args, **call.kwargs).arguments
    graph = module.graph
    last = list(graph.find_nodes(op="placeholder"))[-1]
    checks = []
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            value = taken.get(parameter.name, parameter.default)
            with graph.inserting_after(last):
                last = graph.placeholder(parameter.name, default_value=value)
            checks.append((last, value, parameter.name))
    with graph.inserting_after(last):
        for check in reversed(checks):
            graph.call_function(must_be, check)
    module.recompile()


def _without(graph: fx.Graph, found: Following, kept: set[str]) -> fx.Graph:
    """Return a copy of the graph without what is absorbed, but for modules that are replaced."""
    copied = fx.Graph()
    places: dict[fx.Node, fx.Node] = {}
    copied.output(copied.graph_copy(graph, places))
    for node in found.nodes:
        if node.op != "call_module" or str(node.target) not in kept:
            gone = places[node]
            gone.replace_all_uses_with(gone.all_input_nodes[0])
            copied.erase_node(gone)
    copied.lint()
    return copied


def _sharing(graph: fx.Graph, name: str, users: Sequence[str]) -> fx.Graph:
    """Return a copy of the graph that gives a value made from its input to some of its calls."""
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph, {}))
    given = list(copied.find_nodes(op="placeholder"))
    with copied.inserting_after(given[-1]):
        value = copied.call_module(name, (given[0],))
    for user in users:
        (call,) = copied.find_nodes(op="call_module", target=user)
        call.args = (*call.args, value)
    copied.lint()
    return copied
