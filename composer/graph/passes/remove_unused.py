"""Drop every node that the output does not depend on."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import Graph


def remove_unused(graph: Graph) -> Graph:
    """Return the graph of the output and what it is made from."""
    kept = graph.ancestors(graph.output) | {graph.output}
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.name in kept))
