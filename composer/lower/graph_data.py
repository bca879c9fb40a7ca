"""An fx graph as plain values, which pickle.

Fx's own nodes hold each other on both sides, so that pickle would go as deep as there are nodes.
Here each is a row that names those before it by their numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate, map_arg

#: Of a node's `meta`: where it comes from. What passes leave there, such as fake tensors, is left.
_KEPT = ("composer", "stack_trace")


@dataclass(frozen=True)
class _Node:
    """A reference to a node, by its place in the order."""

    place: int


@dataclass(frozen=True)
class _Row:
    """A node: the arguments of `fx.Graph.create_node`, and what is kept of its `meta`."""

    op: str
    target: str | Callable[..., Any]
    args: Any
    kwargs: Any
    name: str
    type_expr: Any
    meta: dict[str, Any]


@dataclass(frozen=True)
class GraphData:
    """All nodes of a graph, in order, and what writes its code where that is not fx's usual."""

    rows: tuple[_Row, ...]
    codegen: CodeGen | None

    @classmethod
    def of(cls, graph: fx.Graph) -> GraphData:
        """Return the values that a graph is made of."""
        places = {node: _Node(place) for place, node in enumerate(graph.nodes)}

        def referred(argument: Any) -> Any:
            return map_arg(argument, places.__getitem__)  # type: ignore[arg-type]

        rows = [
            _Row(
                node.op,
                node.target,
                referred(node.args),
                referred(node.kwargs),
                node.name,
                node.type,
                {key: node.meta[key] for key in _KEPT if key in node.meta},
            )
            for node in graph.nodes
        ]
        codegen = graph._codegen
        usual = type(codegen) is CodeGen and vars(codegen) == vars(CodeGen())
        return cls(tuple(rows), None if usual else codegen)

    def graph(self, tracer: type[fx.Tracer] | None = None) -> fx.Graph:
        """Return the graph made again; `tracer` is what fx notes as having made it."""
        graph = fx.Graph(tracer_cls=tracer)
        made: list[fx.Node] = []

        def found(leaf: Any) -> Any:
            return made[leaf.place] if isinstance(leaf, _Node) else leaf

        for row in self.rows:
            args, kwargs = map_aggregate(row.args, found), map_aggregate(row.kwargs, found)
            node = graph.create_node(row.op, row.target, args, kwargs, row.name, row.type_expr)
            node.meta.update(row.meta)
            made.append(node)
        if self.codegen is not None:
            graph.set_codegen(self.codegen)
        return graph
