"""Values and parameters are within the limits; see `composer.graph.budget`."""

from __future__ import annotations

from composer.graph.budget import too_much_memory
from composer.graph.graph import Graph


def check_budget(graph: Graph) -> Graph:
    """Return the graph, noting values and parameters that exceed the limits."""
    return graph.with_problems([*too_much_memory(graph)])
