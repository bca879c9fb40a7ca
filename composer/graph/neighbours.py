"""Whether a mechanism looks at neighbours in a map, or takes its places as a set."""

from __future__ import annotations

from collections.abc import Sequence

from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import evaluate, name
from composer.primitives.attention import Attention
from composer.primitives.base import Primitive
from composer.primitives.conv2d import Conv2d
from composer.primitives.merge import Merge
from composer.primitives.parameter import Parameter
from composer.primitives.pool import Pool
from composer.primitives.resize import Resize
from composer.primitives.split import Split

_MAP = ("h", "w")
_OF_ONE_AREA = [{"h": h, "w": 420 // h, "b": 2} for h in (12, 20, 21, 35, 420)]
#: The fields in which an op names one axis that it works on; `over` names one or several.
_ONE_AXIS = ("axis", "along", "queries", "keys", "features")


def looking_at_neighbours(graph: Graph) -> GraphNode | None:
    """Return the first node for which it matters where in a map a place is; None without any."""
    return next((node for node in graph.nodes if node.op is not None and _looks(node.op)), None)


def reads_shape(graph: Graph) -> bool:
    """Return whether a number in the graph depends on height and width, not on h · w alone."""
    expressions = (
        expr
        for node in graph.nodes
        if node.op is not None
        for path, _, expr in node.op.expressions()
        if not (isinstance(node.op, Split) and expr == name(str(path[-1])))  # as it was before
    )
    return any(
        expr.names & set(_MAP) and len({evaluate(expr, shape) for shape in _OF_ONE_AREA}) > 1
        for expr in expressions
    )


def _looks(op: Primitive) -> bool:
    over = set(_MAP) & set(getattr(op, "over", None) or ())
    if isinstance(op, (Conv2d, Resize)) or len(over) == 1:
        return True
    if any(getattr(op, field, None) in _MAP for field in _ONE_AXIS):
        return True
    if isinstance(op, Pool):
        return op.kernel is not None
    if isinstance(op, Attention):
        return bool(over) and str(op.position.value) != "none"
    if isinstance(op, Parameter):
        return not set(_MAP).isdisjoint(op.axes)
    if isinstance(op, Merge):
        return _is_in_parts(op.axes)
    return isinstance(op, Split) and _is_in_parts(tuple(op.into))


def _is_in_parts(axes: Sequence[str]) -> bool:
    """Return whether rows or columns are among the axes, and not all places row by row."""
    found = [place for place, axis in enumerate(axes) if axis in _MAP]
    return bool(found) and tuple(axes[found[0] : found[0] + 2]) != _MAP
