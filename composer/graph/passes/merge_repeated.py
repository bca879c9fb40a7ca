"""Equal operations on equal operands are merged, unless they have weights: f(a), f(a) = f(a)."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import Graph, GraphNode
from composer.primitives.base import Primitive


def merge_repeated(graph: Graph) -> Graph:
    """Return the graph with repeated nodes replaced by the first of them."""
    first: dict[Primitive, str] = {}
    same: dict[str, str] = {}
    kept: list[GraphNode] = []
    for node in graph.in_order():
        assert node.op is not None
        op = node.op.redirected(same)
        if not op.draws_weights:
            if op in first:
                same[node.name] = first[op]
                continue
            first[op] = node.name
        kept.append(replace(node, op=op))
    if not same and graph.is_in_order:
        return graph
    return replace(graph, nodes=tuple(kept), output=same.get(graph.output, graph.output))
