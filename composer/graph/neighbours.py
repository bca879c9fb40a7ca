"""Whether a mechanism looks at neighbours in a map, or takes its places as a set."""

from __future__ import annotations

from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import evaluate
from composer.primitives.attention import Attention
from composer.primitives.conv1d import Conv1d
from composer.primitives.conv2d import Conv2d
from composer.primitives.parameter import Parameter
from composer.primitives.pool import Pool
from composer.primitives.resize import Resize

_MAP = {"h", "w"}
_OF_ONE_AREA = [{"h": h, "w": 420 // h, "b": 2} for h in (12, 20, 21, 35, 420)]


def looking_at_neighbours(graph: Graph) -> GraphNode | None:
    """Return the first node for which it matters where in a map a place is; None without any."""
    return next((node for node in graph.nodes if _looks(node)), None)


def reads_shape(graph: Graph) -> bool:
    """Return whether a number in the graph depends on height and width, not on h · w alone."""
    expressions = (
        expr for node in graph.nodes if node.op is not None for _, _, expr in node.op.expressions()
    )
    return any(
        expr.names & _MAP and len({evaluate(expr, shape) for shape in _OF_ONE_AREA}) > 1
        for expr in expressions
    )


def _looks(node: GraphNode) -> bool:
    op = node.op
    over = _MAP & set(getattr(op, "over", None) or ())
    if isinstance(op, (Conv2d, Resize)) or len(over) == 1:
        return True
    if isinstance(op, Pool):
        return op.kernel is not None
    if isinstance(op, Attention):
        return bool(over) and str(op.position.value) != "none"
    if isinstance(op, Parameter):
        return bool(_MAP & set(op.axes))
    return isinstance(op, Conv1d) and op.along in _MAP
