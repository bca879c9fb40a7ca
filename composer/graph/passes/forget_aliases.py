"""An alias is replaced by the value it names: f(a) with a = b becomes f(b)."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import Graph
from composer.primitives.structure import Alias


def forget_aliases(graph: Graph) -> Graph:
    """Return the graph without the extra names that structures introduced."""
    if not any(isinstance(node.op, Alias) for node in graph.nodes) and graph.is_in_order:
        return graph
    meant: dict[str, str] = {}
    kept = []
    for node in graph.in_order():
        assert node.op is not None
        op = node.op.redirected(meant)
        if isinstance(op, Alias):
            meant[node.name] = str(op.x)
        else:
            kept.append(replace(node, op=op))
    output = meant.get(graph.output, graph.output)
    return replace(graph, nodes=tuple(kept), output=output)
