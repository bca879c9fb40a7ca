"""The spatial axes of the map that a spec is applied to: what its height and width stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from composer.errors import Diagnostic
from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import Expr, ExpressionError
from composer.language.source import YamlPath
from composer.primitives import Spec
from composer.primitives.places import HW, PLACES, at_places, left_alone, of_all, words

#: Names for the depth axis and for the axis of a signal, used if the spec has given the usual name
#: to something else.
_OTHER_NAMES = {"d": ("d", "depth", "depth_of_map"), "t": ("t", "time", "time_of_map")}


def places_of(axes: Sequence[str]) -> tuple[str, ...]:
    """Return which of some axes are the spatial ones; empty unless all are present."""
    found = (PLACES[n] for n in (3, 2, 1))
    return next((places for places in found if set(places) <= set(axes)), ())


def is_general(spec: Spec) -> bool:
    """Return whether a spec is written for height and width, and so works on any map."""
    return places_of(spec.input) == HW


def names_for(spec: Spec, dimensions: int) -> tuple[str, ...]:
    """Return the names of the spatial axes in a spec, for a map of so many dimensions.

    These are t; h and w; or d, h and w; except for a name that the spec uses for something else.
    """
    places = PLACES[dimensions]
    if dimensions == 2 or set(places) <= set(spec.input):
        return places
    taken = set(_words(spec))
    return tuple(
        next(other for other in _OTHER_NAMES.get(place, (place,)) if other not in taken)
        if place in _OTHER_NAMES
        else place
        for place in places
    )


def _words(spec: Spec) -> Iterator[str]:
    yield from spec.params
    for op in spec.nodes.values():
        yield from words(op)
    for inner in spec.used.values():
        yield from _words(inner)


def input_at(spec: Spec, places: tuple[str, ...]) -> tuple[str, ...]:
    """Return the axes of a spec's input on a map with these spatial axes."""
    if places == HW or not is_general(spec):
        return spec.input
    first = min(map(spec.input.index, HW))
    before = [axis for axis in spec.input[:first] if axis not in HW]
    behind = [axis for axis in spec.input[first:] if axis not in HW]
    return (*before, *places, *behind)


def layout_at(
    spec: Spec,
    layout: tuple[str, ...] | None,
    size: tuple[int, ...] | None,
    dimensions: int | None = None,
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the layout of a spec's input, and the spatial axes of the map it is built for.

    The number of dimensions follows from the layout, else the spec, else the given places, else
    the size. The names of the axes are those of the spec; see `names_for`.
    """
    if layout is None:
        if dimensions is None:
            dimensions = len(size) if isinstance(size, (tuple, list)) else 2
        if not is_general(spec) or dimensions == 2 or dimensions not in PLACES:
            return None, places_of(spec.input) or HW
        places = names_for(spec, dimensions)
        return input_at(spec, places), places
    found = places_of(layout) or HW
    places = names_for(spec, len(found))
    return tuple(dict(zip(found, places, strict=True)).get(axis, axis) for axis in layout), places


def node_at_places(graph: Graph, node: GraphNode, problems: list[Diagnostic]) -> GraphNode:
    """Return an unbound node, on the spatial axes of the map that its graph is applied to.

    A field that involves only one of height and width is noted as a problem.
    """
    if not graph.is_spread or node.op is None:
        return node
    op, alone = at_places(node.op, graph.settings.places)
    if alone:
        said = f"{written_name(node)!r} {alone[0].said}"
        problems.append(refusal(graph, said, node, alone[0].field))
    return replace(node, op=None if alone else op, written=op)


def written_name(node: GraphNode) -> str:
    """Return the name of a node in its spec; for a part of a structure, that of the whole."""
    return str(node.path[1]) if len(node.path) > 1 else node.name


def value_at_places(graph: Graph, name: str, value: Expr) -> Expr:
    """Return the value of a param on the spatial axes of the map that its graph is applied to.

    Raises:
        ExpressionError: code ``two-dimensional``, if it depends on only one of the axes.
    """
    if not graph.is_spread:
        return value
    if alone := left_alone(value):
        problem = refusal(graph, f"the param {name!r} depends only on {alone[0]!r}")
        raise ExpressionError(
            problem.code, problem.message, value.start, value.length, problem.help
        )
    return of_all(value, graph.settings.places)


def refusal(
    graph: Graph, said: str, node: GraphNode | None = None, field: YamlPath = ()
) -> Diagnostic:
    """Return the problem of something written for height and width, on a map with other axes."""
    meant = PLACES[len(graph.settings.places)]
    there = ", ".join(meant)
    return Diagnostic(
        "two-dimensional",
        f"{said}, so {graph.spec.name!r} is for maps [h, w], but this one is [{there}]",
        "name h and w together to mean all spatial axes, or write a spec for such "
        f"maps: 'input: [{', '.join(input_at(graph.spec, meant))}]'",
        graph.where(node, field) if node is not None else None,
    )
