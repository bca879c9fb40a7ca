"""What reads another name for a value reads the value: f(a), a = b, is f(b)."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import Graph
from composer.primitives.base import replaced
from composer.primitives.structure import Alias
from composer.spec.expressions import constant


def forget_aliases(graph: Graph) -> Graph:
    """Return the graph without the names that structures left behind."""
    meant: dict[str, str] = {}
    kept = []
    for node in graph.in_order():
        assert node.op is not None
        moved = {
            path: constant(meant[str(ref)])
            for path, ref in node.op.operands()
            if str(ref) in meant
        }
        op = replaced(node.op, moved) if moved else node.op
        if isinstance(op, Alias):
            meant[node.name] = str(op.x)
        else:
            kept.append(replace(node, op=op))
    output = meant.get(graph.output, graph.output)
    return replace(graph, nodes=tuple(kept), output=output)
