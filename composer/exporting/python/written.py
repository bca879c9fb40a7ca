"""A lowered module as plain values: its calls and layers, with every number kept separately.

Two modules of one spec that differ only by sizes and params are equal here except for the numbers,
so lowering the spec at other sizes shows what a number depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from composer.exporting.python.begins import Begin, begins
from composer.exporting.python.layers import arguments_of
from composer.graph.graph import Graph
from composer.kernels.features import features_last
from composer.language.expressions import Value


@dataclass(frozen=True)
class Number:
    """A number, by its index among all of the module."""

    place: int


@dataclass(frozen=True)
class Ref:
    """The value of a call, by its name."""

    name: str


@dataclass(frozen=True)
class Call:
    """One node of the fx graph; `owner` is its node in the spec.

    `rank` is the number of axes of its value; -1 if it is not a tensor.
    """

    name: str
    owner: str
    op: str
    target: str | Callable[..., Any]
    args: Any
    kwargs: Any
    rank: int


@dataclass(frozen=True)
class Layer:
    """A torch module or a parameter, with the initialisation of its tensors if not torch's.

    The arguments are (name, value, default), in torch's order.
    """

    kind: str
    arguments: tuple[tuple[str, Any, Any], ...]
    begins: tuple[tuple[str, Begin], ...] = ()


@dataclass(frozen=True)
class Written:
    """A module: its calls in order, its layers by path."""

    calls: tuple[Call, ...]
    layers: tuple[tuple[str, Layer], ...]


@dataclass
class _Numbers:
    """Collects numbers separately, in the order of occurrence."""

    found: list[Value] = field(default_factory=list)

    def apart(self, value: Any) -> Any:
        """Return a value with references in place of numbers and fx nodes."""
        if isinstance(value, fx.Node):
            return Ref(value.name)
        if isinstance(value, (bool, int, float)):
            self.found.append(value)
            return Number(len(self.found) - 1)
        if isinstance(value, (tuple, list)):  # torch's sizes and fx's lists among them
            return tuple(map(self.apart, value))
        if isinstance(value, slice):
            return slice(*map(self.apart, (value.start, value.stop, value.step)))
        if isinstance(value, Begin):
            return Begin(value.how, tuple(map(self.apart, value.numbers)))
        return value


def written(module: fx.GraphModule, graph: Graph) -> tuple[Written, tuple[Value, ...]]:
    """Return a lowered module as values, and its numbers.

    Raises:
        ComposerError: it has a layer without a plain torch form.
    """
    numbers = _Numbers()
    calls = tuple(_call(node, numbers) for node in plainer(module.graph).nodes)
    layers = tuple((path, _layer(path, kept, graph, numbers)) for path, kept in _kept(module))
    return Written(calls, layers), tuple(numbers.found)


def _call(node: fx.Node, numbers: _Numbers) -> Call:
    args, kwargs = numbers.apart(node.args), {k: numbers.apart(v) for k, v in node.kwargs.items()}
    owner = node.meta.get("composer", {}).get("node", "input")
    return Call(node.name, owner, node.op, node.target, args, kwargs, node.meta.get("rank", -1))


def _layer(path: str, kept: nn.Module | nn.Parameter, graph: Graph, numbers: _Numbers) -> Layer:
    kind, arguments = arguments_of(kept)
    apart = tuple((name, numbers.apart(value), default) for name, value, default in arguments)
    own = tuple((tensor, numbers.apart(begin)) for tensor, begin in begins(path, kept, graph))
    return Layer(kind, apart, own)


def _kept(module: nn.Module, above: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield the parameters and the leaf modules, by path, in order of creation."""
    for name, parameter in module.named_parameters(recurse=False):
        yield f"{above}{name}", parameter
    for name, child in module.named_children():
        if type(child) is nn.Module:
            yield from _kept(child, f"{above}{name}.")
        else:
            yield f"{above}{name}", child


def plainer(graph: fx.Graph) -> fx.Graph:
    """Return a graph with consecutive permutes merged and identity ones removed.

    Memory requirements of our kernels, which plain torch does not have, are omitted.
    """
    new = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        if node.op == "output":
            new.output(values[node.args[0]])
        elif node.target is features_last:
            values[node] = values[node.args[0]]
        else:
            values[node] = new.node_copy(node, values.__getitem__)
            values[node].name = node.name
            if _is_permute(node):
                values[node] = _permuted(new, values[node])
    for node in reversed(new.nodes):
        if node.op not in ("placeholder", "output") and not node.users:
            new.erase_node(node)
    return new


def _is_permute(node: fx.Node) -> bool:
    return node.op == "call_method" and node.target == "permute"


def _permuted(graph: fx.Graph, node: fx.Node) -> fx.Node:
    x, *order = node.args
    assert isinstance(x, fx.Node)
    if _is_permute(x):
        order = [x.args[1:][place] for place in order]  # type: ignore[index]
        node.args = (x.args[0], *order)
    if order != sorted(order):  # type: ignore[type-var]
        return node
    (source,) = node.all_input_nodes
    graph.erase_node(node)
    return source
