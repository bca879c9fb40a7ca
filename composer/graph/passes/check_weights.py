"""The number of weights does not depend on the batch, whose size changes from call to call."""

from __future__ import annotations

from composer.errors import Diagnostic
from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import ExpressionError, bind
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, Primitive, replaced
from composer.primitives.cost import Cost

_OPEN = 64  # the assumed value of an open size


def check_weights(graph: Graph) -> Graph:
    """Return the graph, noting nodes whose weights would depend on the batch, such as a norm's."""
    batch = graph.input_axes.names[0]
    if graph.input_axes[batch].is_constant:
        return graph
    asked: dict[object, bool] = {}  # of nodes that are alike, one

    def have_batch(node: GraphNode) -> bool:
        if node.op is None or node.axes is None or type(node.op).cost is Primitive.cost:
            return False
        key = node.fields, graph.reads_of(node), node.axes
        if key not in asked:
            asked[key] = _have_batch(graph, node, node.op, batch)
        return asked[key]

    return graph.with_problems([
        Diagnostic(
            "open-size",
            f"{node.name!r} would have weights for each sample of the batch {batch!r}",
            "the size of the batch changes from call to call; use another axis",
            graph.where(node),
        )
        for node in graph.nodes
        if have_batch(node)
    ])  # fmt: skip


def _have_batch(graph: Graph, node: GraphNode, op: Primitive, batch: str) -> bool:
    if batch not in op.named_axes:
        return False
    counts = {_weights(graph, node, op, batch, size) for size in (1, 2)}
    return len(counts) > 1


def _weights(graph: Graph, node: GraphNode, op: Primitive, batch: str, size: int) -> int | None:
    """Return how many weights a node has at a batch size; None if that is not known."""
    open_sizes = dict.fromkeys(graph.input_axes, _OPEN)
    known = {**open_sizes, **graph.settings.planned, batch: size}

    def counted(axes: Axes | None) -> Axes:
        assert axes is not None
        return Axes(tuple((axis, bind(length, known)) for axis, length in axes.sizes))

    try:
        update = {
            path: bind(expr, known)
            for path, kind, expr in op.expressions()
            if kind.name not in ("node", "word")
        }
        read = {ref: counted(graph.axes_of(ref)) for ref in node.operands}
        bound = replaced(op, update)
        cost: Cost = bound.cost(lambda ref: read[str(ref.value)], counted(node.axes))
    except (AxisProblem, ExpressionError):
        return None
    return cost.parameters
