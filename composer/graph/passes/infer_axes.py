"""Give every value its axes, by the rule of its primitive."""

from __future__ import annotations

from dataclasses import replace

from composer.errors import Diagnostic
from composer.graph.graph import Graph, GraphNode
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem
from composer.spec.expressions import Expr


def infer_axes(graph: Graph) -> Graph:
    """Return the graph with axes on every node whose operands have them.

    New axes take their place in the order of memory as they first appear.
    """
    axes: dict[str, Axes | None] = {"input": graph.input_axes}
    added: list[str] = []
    new: dict[str, GraphNode] = {}
    problems: list[Diagnostic] = []

    def known(ref: Expr) -> Axes:
        found = axes[str(ref)]
        assert found is not None
        return found

    for node in graph.in_order():
        axes[node.name] = None
        if node.op is None or any(axes[name] is None for name in node.operands):
            continue
        order = AxisOrder(graph.order.input, tuple(added))
        try:
            found = node.op.infer(known, order)
        except AxisProblem as problem:
            problems.append(
                Diagnostic(
                    problem.code, problem.message, problem.help, graph.where(node, problem.field)
                )
            )
            continue
        added.extend(a for a in found if a not in added and a not in graph.order.input)
        axes[node.name] = found
        new[node.name] = replace(node, axes=found)
    order = AxisOrder(graph.order.input, tuple(added))
    return replace(graph.with_nodes(new), order=order).with_problems(problems)
