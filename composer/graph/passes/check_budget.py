"""What a spec would come to has room in a machine; see `composer.graph.budget`."""

from __future__ import annotations

from composer.graph.budget import too_much_memory
from composer.graph.graph import Graph


def check_budget(graph: Graph) -> Graph:
    """Return the graph with values, and parameters, that no machine has room for noted."""
    return graph.with_problems([*too_much_memory(graph)])
