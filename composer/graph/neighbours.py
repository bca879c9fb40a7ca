"""Whether a mechanism looks at neighbours in a map, or takes its places as a set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import Expr, evaluate, name
from composer.primitives.attention import Attention
from composer.primitives.base import Primitive
from composer.primitives.constant import Constant
from composer.primitives.conv2d import Conv2d
from composer.primitives.dropout import Dropout
from composer.primitives.flip import Flip
from composer.primitives.fold import Fold
from composer.primitives.merge import Merge
from composer.primitives.norm import Normalize
from composer.primitives.pad import Pad
from composer.primitives.parameter import Parameter
from composer.primitives.pool import Pool
from composer.primitives.rename import Rename
from composer.primitives.resize import Resize
from composer.primitives.roll import Roll
from composer.primitives.split import Split
from composer.primitives.unfold import Unfold

_PLACES = 420  # of maps that have another shape each
#: The fields in which an op names one axis that it works on, and those that name one or several.
_ONE_AXIS = ("axis", "along")
_SEVERAL_AXES = ("over", "keys", "sum")


def looking_at_neighbours(graph: Graph) -> GraphNode | None:
    """Return the first node for which it matters where in a map a place is; None without any."""
    places = graph.settings.places
    ops = ((node, node.op) for node in graph.nodes)
    return next((node for node, op in ops if op is not None and _looks(op, places)), None)


def reads_shape(graph: Graph) -> bool:
    """Return whether a number in the graph depends on height and width, not on h · w alone."""
    places = graph.settings.places
    shapes = [{**shape, "b": 2} for shape in _of_one_area(places)]
    expressions = (
        expr
        for node in graph.nodes
        if node.op is not None
        for path, _, expr in node.op.expressions()
        if not (isinstance(node.op, Split) and expr == name(str(path[-1])))  # as it was before
    )
    return any(
        expr.names & set(places) and _tells_apart(expr, shapes) for expr in expressions
    )


def _tells_apart(expr: Expr, shapes: Sequence[Mapping[str, int]]) -> bool:
    """Return whether a number differs between the shapes, or may: along an index it is open."""
    found = {evaluate(expr, shape) for shape in shapes}
    return len(found) > 1 or found == {None}


def _of_one_area(places: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield sizes of the places of maps that have as many places, and another shape each."""
    if len(places) == 1:
        yield {places[0]: _PLACES}
        return
    for first, second in permutations(places, 2):
        rest = dict.fromkeys(places, 1)
        for high in (12, 20, 21, 35, _PLACES):
            yield {**rest, first: high, second: _PLACES // high}


def _looks(op: Primitive, places: tuple[str, ...]) -> bool:
    over = set(places) & _axes_of(op)
    if isinstance(op, (Conv2d, Resize)) or 0 < len(over) < len(places):
        return True
    if isinstance(op, (Flip, Fold, Roll, Unfold)):
        return bool(over)
    if isinstance(op, Pad):
        return not set(places).isdisjoint(op.to)
    if isinstance(op, Rename):
        return not set(places).isdisjoint((*op.axes, *op.axes.values()))
    if isinstance(op, Dropout):
        return 0 < len(set(places) & set(op.share)) < len(places)
    if any(getattr(op, field, None) in places for field in _ONE_AXIS):
        return True
    if isinstance(op, Pool):
        return not op.is_whole
    if isinstance(op, Normalize):
        return not set(places).isdisjoint(op.weights_along)
    if isinstance(op, Attention):
        return bool(over) and str(op.position.value) != "none"
    if isinstance(op, (Constant, Parameter)):
        return not set(places).isdisjoint(op.axes)
    if isinstance(op, Merge):
        return _is_in_parts(op.axes, places)
    return isinstance(op, Split) and _is_in_parts(tuple(op.into), places)


def _axes_of(op: Primitive) -> set[str]:
    found = (getattr(op, field, None) or () for field in _SEVERAL_AXES)
    return {axis for axes in found for axis in ((axes,) if isinstance(axes, str) else axes)}


def _is_in_parts(axes: Sequence[str], places: tuple[str, ...]) -> bool:
    """Return whether rows or columns are among the axes, and not all places row by row."""
    found = [place for place, axis in enumerate(axes) if axis in places]
    return bool(found) and tuple(axes[found[0] : found[0] + len(places)]) != places
