"""What each node of a graph costs: its primitive tells it from the axes, and torch is not asked."""

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
    """Return the cost of each node of a graph that has its axes.

    Left out are a node without op or axes, and one whose cost depends on a size that is open.

    Args:
        graph: as the checks leave it, or any pass behind them.
        sizes: what sizes that the graph leaves open count as; see `open_sizes`. The batch counts
            as one image, whatever they say.
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
    """Return the cost of one node that has its op and axes; the arguments are `node_costs`'s.

    A node that shares another's weights has no parameters of its own.

    Raises:
        ComposerError: code ``open-size``, where it depends on a size that is not known.
    """
    try:
        return _cost(graph, node, sizes or {})
    except AxisProblem as problem:
        where = graph.where(node, problem.field)
        raise ComposerError(
            Diagnostic(problem.code, problem.message, problem.help, where)
        ) from None


def open_sizes(spec: Spec, size: tuple[int, ...]) -> dict[str, int]:
    """Return what the open sizes of a spec's input count as.

    The tokens are the places of a map of this size; any other axis counts as 1.
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
    shares = node.weights not in (None, node.name)  # the first of those that share names itself
    return Cost(0, cost.flops) if shares else cost
