"""An fx graph as plain values, for pickling.

Fx's nodes are doubly linked, so pickle would recurse as deep as there are nodes. Here each node is
a row that refers to earlier rows by number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate, map_arg

#: The keys of a node's `meta` to keep: its provenance. Others, such as fake tensors, are dropped.
_KEPT = ("composer", "stack_trace")


@dataclass(frozen=True)
class _Node:
    """A reference to a node, by its index."""

    place: int


@dataclass(frozen=True)
class _Row:
    """A node: the arguments of `fx.Graph.create_node`, and the kept part of its `meta`."""

    op: str
    target: str | Callable[..., Any]
    args: Any
    kwargs: Any
    name: str
    type_expr: Any
    meta: dict[str, Any]


@dataclass(frozen=True)
class GraphData:
    """All nodes of a graph, in order, and its code generator if that is not fx's default."""

    rows: tuple[_Row, ...]
    codegen: CodeGen | None

    @classmethod
    def of(cls, graph: fx.Graph) -> GraphData:
        """Return a graph as plain values."""
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
        """Return the rebuilt graph; `tracer` is recorded as its tracer class."""
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
