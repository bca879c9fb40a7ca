"""Drop every node that the output does not depend on."""

from __future__ import annotations

from composer.graph.graph import Graph
from composer.graph.rewriting import only_used


def remove_unused(graph: Graph) -> Graph:
    """Return the graph of the output and its ancestors."""
    return only_used(graph)
