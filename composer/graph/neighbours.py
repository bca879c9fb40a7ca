"""Whether a mechanism depends on spatial neighbours, or treats the places of a map as a set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import Expr, evaluate, name
from composer.primitives.split import Split

_PLACES = 420  # in each map, which all differ in shape


def looking_at_neighbours(graph: Graph) -> GraphNode | None:
    """Return the first node whose result depends on where in the map a place is, or None."""
    places = graph.settings.places
    ops = ((node, node.op) for node in graph.nodes)
    return next((node for node, op in ops if op is not None and op.looks_around(places)), None)


def reads_shape(graph: Graph) -> bool:
    """Return whether a number in the graph depends on height and width other than by h · w."""
    places = graph.settings.places
    shapes = [{**shape, "b": 2} for shape in _of_one_area(places)]
    expressions = (
        expr
        for node in graph.nodes
        if node.op is not None
        for path, _, expr in node.op.expressions()
        if not (isinstance(node.op, Split) and expr == name(str(path[-1])))  # as before
    )
    return any(expr.names & set(places) and _tells_apart(expr, shapes) for expr in expressions)


def _tells_apart(expr: Expr, shapes: Sequence[Mapping[str, int]]) -> bool:
    """Return whether a number may differ between the shapes; along an index it is open."""
    found = {evaluate(expr, shape) for shape in shapes}
    return len(found) > 1 or found == {None}


def _of_one_area(places: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yield the sizes of maps with the same number of places, each of a different shape."""
    if len(places) == 1:
        yield {places[0]: _PLACES}
        return
    for first, second in permutations(places, 2):
        rest = dict.fromkeys(places, 1)
        for high in (12, 20, 21, 35, _PLACES):
            yield {**rest, first: high, second: _PLACES // high}
