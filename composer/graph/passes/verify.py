"""The invariants of a graph; a violation is a bug in the named pass, not in the spec."""

from __future__ import annotations

from collections.abc import Callable

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.order import in_order
from composer.language.expressions import Expr
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem

#: In order: a rule may rely on the ones before it.
RULES: dict[str, Callable[[Graph], bool]] = {
    "names are unique": lambda g: len({INPUT, *g.by_name}) == len(g.nodes) + 1,
    "the output is a node": lambda g: g.output in g.by_name,
    "every node has an op and axes": lambda g: all(n.op and n.axes is not None for n in g.nodes),
    "operands are nodes": lambda g: set().union(*g.reads.values()) <= {INPUT, *g.by_name},
    "there is no cycle": lambda g: len(in_order(g.reads)) == len(g.reads),
    "axes follow from the operands": lambda g: _axes_follow(g),
}


def verify(graph: Graph, after: str) -> None:
    """Check the graph that the pass `after` returned.

    Raises:
        AssertionError: it is not a legal graph.
    """
    for rule, holds in RULES.items():
        if not holds(graph):
            raise AssertionError(f"after the pass {after}, this does not hold: {rule}")


def _axes_follow(graph: Graph) -> bool:
    def known(ref: Expr) -> Axes:
        axes = graph.axes_of(str(ref.value))
        assert axes is not None
        return axes

    asked: dict[object, Axes] = {}  # one entry for all nodes that are alike

    def follow(node: GraphNode) -> bool:
        key = node.fields, graph.reads_of(node)
        if node.op is not None and key not in asked:
            asked[key] = node.op.infer(known, graph.order)
        return asked.get(key) == node.axes

    try:
        return all(map(follow, graph.nodes))
    except AxisProblem:
        return False
