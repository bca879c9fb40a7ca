"""The cost of each node of a graph, computed by its primitive from the axes, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from composer.errors import ComposerError, Diagnostic
from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import Expr, bind
from composer.primitives import Spec
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, Primitive
from composer.primitives.cost import Cost


def node_costs(graph: Graph, sizes: Mapping[str, int] | None = None) -> dict[str, Cost]:
    """Return the cost of each node of a graph with inferred axes.

    A node without op or axes is omitted, and so is one whose cost depends on an open size.

    Args:
        graph: after the checks, or after any later pass.
        sizes: the assumed values of open sizes; see `open_sizes`. The batch always counts as one
            image.
    """
    found: dict[str, Cost] = {}
    for node in graph.nodes:
        if node.op is None or node.axes is None:
            continue
        try:
            found[node.name] = _cost(graph, node, sizes or {})
        except AxisProblem:
            continue
    return found


def node_cost(graph: Graph, node: GraphNode, sizes: Mapping[str, int] | None = None) -> Cost:
    """Return the cost of one node with an op and axes; the arguments are those of `node_costs`.

    A node that shares another's weights counts no parameters.

    Raises:
        ComposerError: code ``open-size``, if it depends on an unknown size.
    """
    try:
        return _cost(graph, node, sizes or {})
    except AxisProblem as problem:
        where = graph.where(node, problem.field)
        raise ComposerError(
            Diagnostic(problem.code, problem.message, problem.help, where)
        ) from None


def open_sizes(spec: Spec, size: tuple[int, ...]) -> dict[str, int]:
    """Return the assumed values of the open sizes of a spec's input.

    The number of tokens is that of a map of this size; any other axis counts as 1.
    """
    return {axis: math.prod(size) if axis == "n" else 1 for axis in spec.input}


def _cost(graph: Graph, node: GraphNode, sizes: Mapping[str, int]) -> Cost:
    assert node.op is not None and node.axes is not None
    if type(node.op).cost is Primitive.cost:
        return Cost()
    known = {**sizes, graph.spec.input[0]: 1}

    def counted(axes: Axes | None) -> Axes:
        assert axes is not None
        return Axes(tuple((axis, bind(size, known)) for axis, size in axes.sizes))

    def axes_of(ref: Expr) -> Axes:
        return counted(graph.axes_of(str(ref.value)))

    cost = node.op.cost(axes_of, counted(node.axes))
    shares = node.weights not in (None, node.name)  # the owner of shared weights names itself
    return Cost(0, cost.flops) if shares else cost
