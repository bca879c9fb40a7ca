"""Shared tools of the optimisation passes: the readers of each value, and new nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.language.expressions import Expr
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive


def readers(graph: Graph) -> dict[str, list[GraphNode]]:
    """Return the readers of each node and of the input, in order."""
    found: dict[str, list[GraphNode]] = {}
    for node in graph.in_order():
        for operand in node.operands:
            found.setdefault(operand, []).append(node)
    return found


def only_used(graph: Graph) -> Graph:
    """Return the graph of the output and its ancestors; the same object if nothing changes."""
    kept = graph.ancestors(graph.output) | {graph.output}
    if all(node.name in kept for node in graph.nodes):
        return graph
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.name in kept))


def read_once(graph: Graph) -> dict[str, GraphNode]:
    """Return the only reader of each node that has exactly one and is not the output."""
    return {
        name: nodes[0]
        for name, nodes in readers(graph).items()
        if len(nodes) == 1 and name != graph.output and name in graph.by_name
    }


class Rewriting:
    """New nodes of a graph, each with the axes that follow from its operands."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._taken = set(graph.by_name)
        self._parts: dict[str, int] = {}  # how many names were tried for each node
        self.new: dict[str, GraphNode] = {}
        self.changed: dict[str, GraphNode] = {}

    def axes(self, ref: Expr) -> Axes:
        """Return the axes of an existing or new node."""
        name = str(ref.value)
        axes = self.graph.input_axes if name == INPUT else self.node(name).axes
        assert axes is not None
        return axes

    def node(self, name: str) -> GraphNode:
        """Return the current state of a node."""
        return self.changed.get(name) or self.new.get(name) or self.graph.by_name[name]

    def op(self, name: str) -> Primitive | None:
        """Return the op that currently computes a value; None for the input."""
        return self.node(name).op if name != INPUT else None

    def add(self, op: Primitive, near: GraphNode) -> str:
        """Add a node that belongs to `near`; return its name."""
        number = self._parts.get(near.name, 0)
        while (name := f"{near.name}.{number}") in self._taken:
            number += 1
        self._parts[near.name] = number + 1
        self.new[name] = replace(
            near, name=name, op=op, axes=op.infer(self.axes, self.graph.order), weights=None
        )
        return name

    def change(self, node: GraphNode, op: Primitive) -> None:
        """Replace the op of a node by an equivalent one."""
        axes = op.infer(self.axes, self.graph.order)
        place = self.new if node.name in self.new else self.changed
        place[node.name] = replace(node, op=op, axes=axes)

    def done(self, renamed: Mapping[str, str] | None = None) -> Graph:
        """Return the graph with all changes, without nodes that nothing reads any more.

        What reads a name in `renamed` reads another. A graph without changes is returned itself.
        """
        if not self.new and not self.changed and not renamed:
            return self.graph
        renamed = dict(renamed or {})
        for name in reversed(renamed):
            renamed[name] = renamed.get(renamed[name], renamed[name])
        nodes = []
        for node in (*self.graph.nodes, *self.new.values()):
            node = self.changed.get(node.name, node)
            assert node.op is not None
            nodes.append(replace(node, op=node.op.redirected(renamed)))
        output = renamed.get(self.graph.output, self.graph.output)
        return only_used(replace(self.graph, nodes=tuple(nodes), output=output))
