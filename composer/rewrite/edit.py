"""One edit of one module: real code on a class derived from the module's own.

An edit by hooks would be invisible, and lost without a word when a later pass fuses the module
it hangs on. So the owner gets the inserted module as a child, and a forward that calls it:

- at the end of a residual branch, the owner's traced forward with the call written in;
- at the output, a forward that calls the owner's own and then the child;
- where the owner runs its children in order, as `nn.Sequential` does, the child is enough; where
  it runs them in another way, as a dense block does, the call is written into its traced forward.

Owners of equal structure share one derived class, so `torch.compile` compiles it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from composer.backbones.anatomy import Part
from composer.backbones.edited import MARK, ORIGINAL, class_before_edits
from composer.backbones.forward import Branch, Forward, Untraceable, code, trace
from composer.rewrite.place import Place


@dataclass
class Editor:
    """Edits the owners of one insertion, with one derived class for each structure."""

    _derived: dict[tuple[Any, ...], type[nn.Module]] = field(default_factory=dict)

    def put(
        self, owner: nn.Module, part: Part, place: Place, name: str, module: fx.GraphModule
    ) -> None:
        """Put `module` into `owner` under `name`, so that it runs at `place`."""
        module.meta[MARK] = True
        if place.forward is not None and place.ends is not None:
            owner.add_module(name, module)
            owner.__class__ = self._traced_class(owner, place.forward, place.ends, name)
            return
        before = _traced(owner, part)
        owner.add_module(name, module)
        if type(owner).forward is nn.Sequential.forward:
            return
        after = _traced(owner, part)
        if before is None or after is None or code(before.evaluation) == code(after.evaluation):
            owner.__class__ = self._output_class(type(owner), name)
        elif not _gives(after.evaluation, name):
            ends = _output(before.training), _output(before.evaluation)
            owner.__class__ = self._traced_class(owner, before, ends, name)

    def _traced_class(
        self, owner: nn.Module, forward: Forward, ends: tuple[Branch, Branch], name: str
    ) -> type[nn.Module]:
        training = _with_call(forward.training, ends[0], name)
        evaluation = _with_call(forward.evaluation, ends[1], name)
        original = class_before_edits(owner)
        key = (original, code(training), code(evaluation))
        if key not in self._derived:
            self._derived[key] = _derive(
                original,
                _two_modes(_function(owner, training), _function(owner, evaluation))
                if key[1] != key[2]
                else {"forward": _function(owner, evaluation)},
            )
        return self._derived[key]

    def _output_class(self, current: type[nn.Module], name: str) -> type[nn.Module]:
        key = (current, name)
        if key not in self._derived:
            self._derived[key] = _derive(current, {"forward": _then(current, name)})
        return self._derived[key]


def _with_call(graph: fx.Graph, end: Branch, name: str) -> fx.Graph:
    """Return a copy of the graph in which the branch's end passes through a child."""
    copied = fx.Graph()
    places: dict[fx.Node, fx.Node] = {}
    output = copied.graph_copy(graph, places)
    result = copied.output(output)
    reader = places.get(end.reader, result)
    with copied.inserting_after(places[end.end]):
        call = copied.call_module(name, (places[end.end],))
    reader.replace_input_with(places[end.end], call)
    copied.lint()
    return copied


def _function(owner: nn.Module, graph: fx.Graph) -> Callable[..., Any]:
    """Return a graph as a method; its source can be read by debuggers and by torch.compile."""
    function: Callable[..., Any] = type(fx.GraphModule(owner, graph)).forward
    return function


def _two_modes(
    training: Callable[..., Any], evaluation: Callable[..., Any]
) -> dict[str, Callable[..., Any]]:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            return self.forward_in_training(*args, **kwargs)
        return self.forward_in_evaluation(*args, **kwargs)

    return {
        "forward": forward,
        "forward_in_training": training,
        "forward_in_evaluation": evaluation,
    }


def _then(current: type[nn.Module], name: str) -> Callable[..., Any]:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, name)(current.forward(self, *args, **kwargs))

    return forward


def _derive(
    base: type[nn.Module], namespace: dict[str, Callable[..., Any]]
) -> type[nn.Module]:
    body: dict[str, Any] = {
        **namespace,
        ORIGINAL: getattr(base, ORIGINAL, base),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    derived: type[nn.Module] = type(base)(base.__name__, (base,), body)
    return derived


def _traced(owner: nn.Module, part: Part) -> Forward | None:
    try:
        return trace(owner, part.call)
    except Untraceable:
        return None


def _output(graph: fx.Graph) -> Branch:
    output = next(node for node in graph.nodes if node.op == "output")
    return Branch(output.all_input_nodes[0], output, None)


def _gives(graph: fx.Graph, name: str) -> bool:
    """Return whether a traced forward gives back what the child makes."""
    end = _output(graph).end
    return end.op == "call_module" and end.target == name
