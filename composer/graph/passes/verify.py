"""What a legal graph is; a failure is a fault of the pass it names, not of the spec."""

from __future__ import annotations

import networkx as nx

from composer.graph.graph import INPUT, Graph


def verify(graph: Graph, after: str) -> None:
    """Check the graph that the pass `after` returned.

    Raises:
        AssertionError: it is not a legal graph.
    """
    names = [node.name for node in graph.nodes]
    rules = {
        "names are unique": len(set(names)) == len(names) and INPUT not in names,
        "the output is a node": graph.output in names,
        "operands are nodes": set(graph.digraph) == {INPUT, *names},
        "there is no cycle": nx.is_directed_acyclic_graph(graph.digraph),
        "every node has an op and axes": all(n.op and n.axes is not None for n in graph.nodes),
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    assert not broken, f"after the pass {after}, this does not hold: {', '.join(broken)}"
