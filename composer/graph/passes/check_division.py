"""No divisor is zero: a schedule that passes zero is refused."""

from __future__ import annotations

from composer.errors import Diagnostic
from composer.graph.graph import Graph, GraphNode
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.schedule import Schedule


def check_division(graph: Graph) -> Graph:
    """Return the graph, noting divisions by a schedule that is zero at some step."""
    problems = []
    for node in graph.nodes:
        if not isinstance(node.op, Arithmetic) or node.op.op != "div":
            continue
        by = node.op.of[1]
        if by.is_constant and by.value == 0:
            problems.append(_by_nothing(graph, node))
            continue
        divisor = graph.by_name.get(str(by))
        if divisor is not None and isinstance(divisor.op, Schedule) and divisor.op.meets_zero:
            problems.append(_by_zero(graph, divisor, divisor.op, node))
    return graph.with_problems(problems)


def _by_nothing(graph: Graph, node: GraphNode) -> Diagnostic:
    message = f"{node.name!r} divides by zero"
    where = graph.where(node, ("of", 1))
    return Diagnostic("division-by-zero", message, "divide by a number that is not zero", where)


def _by_zero(graph: Graph, divisor: GraphNode, schedule: Schedule, by: GraphNode) -> Diagnostic:
    message = f"{divisor.name!r} goes from {schedule.begin} to {schedule.end}"
    return Diagnostic(
        "division-by-zero",
        f"{message}, so {by.name!r} would divide by zero",
        "make it start and end above zero",
        graph.where(divisor),
    )
