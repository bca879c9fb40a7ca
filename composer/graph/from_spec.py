"""From a spec to an unbound graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from composer.errors import ComposerError, Diagnostic, suggestion
from composer.graph.graph import INPUT, Graph, GraphNode, Settings
from composer.graph.places import input_at
from composer.language.budget import MAX_EXPANDED, MAX_NODES
from composer.language.expressions import Expr, Value, constant, name
from composer.language.models import Param
from composer.language.names import COMMA
from composer.language.reader import Reading
from composer.language.stand_in import stand_in_names
from composer.primitives import Spec
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Primitive, with_references
from composer.primitives.chunk import Chunk
from composer.primitives.unstack import Unstack


def graph_of(spec: Spec, settings: Settings, reading: Reading[Spec] | None = None) -> Graph:
    """Return the spec as an unbound graph; faulty nodes of a `reading` have no op.

    Raises:
        ComposerError: a setting names an unknown param, or gives it an invalid value.
    """
    if problems := wrong_params(spec, settings.params):
        raise ComposerError(problems)
    layout = settings.layout or input_at(spec, settings.places)
    axes = Axes(tuple((axis, _size(axis, settings)) for axis in layout))
    return _graph(spec, settings, axes, AxisOrder(layout), reading)


def inner_graph(
    spec: Spec,
    params: Mapping[str, Value | Expr],
    input_axes: Axes,
    order: AxisOrder,
    places: tuple[str, ...],
    room: int = MAX_NODES,
) -> Graph:
    """Return the graph of a used spec, on a value that has at least its axes."""
    settings = Settings(params=params, inside=True, places=places, room=room)
    return _graph(spec, settings, input_axes, order, None)


def _graph(
    spec: Spec,
    settings: Settings,
    input_axes: Axes,
    order: AxisOrder,
    reading: Reading[Spec] | None,
) -> Graph:
    names = reading.node_names if reading else tuple(spec.nodes)
    known, nodes, bad_names = _nodes_of(spec, names)
    if not settings.inside:  # else it inherits those of the spec that uses it
        written = len(known) - 1
        settings = replace(settings, room=min(settings.room, written + MAX_EXPANDED))
    output = str(spec.output) if spec.output is not None else names[-1]
    if settings.part == "shared" and spec.insert is not None and spec.insert.share:
        output = spec.insert.share
    return Graph(
        spec=spec,
        source=spec.origin,
        settings=settings,
        input=input_at(spec, settings.places),
        nodes=nodes,
        output=output,
        order=order,
        input_axes=input_axes,
        problems=(
            *(reading.problems if reading else ()), *_bad_axes(spec), *bad_names
        ),
        broken_params=reading.broken_params if reading else frozenset(),
    )  # fmt: skip


def _nodes_of(
    spec: Spec, names: tuple[str, ...]
) -> tuple[frozenset[str], tuple[GraphNode, ...], tuple[Diagnostic, ...]]:
    """Return the names of all values, the nodes, and what is wrong with their names.

    They are the same under any settings, so the spec keeps them: it is checked, shown, and planned
    for each kind of site.
    """
    kept: tuple[tuple[str, ...], Any] | None = getattr(spec, "_found", None)
    if kept is not None and kept[0] == names:
        found: tuple[frozenset[str], tuple[GraphNode, ...], tuple[Diagnostic, ...]] = kept[1]
        return found
    nodes: list[GraphNode] = []
    above = INPUT
    known = frozenset([INPUT, *(one for node in names for one in node.split(COMMA))])
    for node_name in names:
        op = _wired(spec.nodes.get(node_name), above)
        op = op if op is None else with_references(op, known)
        nodes.append(GraphNode(node_name, op, ("nodes", node_name), written=op))
        above = node_name
    found = known, tuple(nodes), tuple(_bad_names(spec, names))
    object.__setattr__(spec, "_found", (names, found))
    return found


def _wired(op: Primitive | None, above: str) -> Primitive | None:
    """Connect an op without operand to the node above."""
    if op is None or not op.reads_above:
        return op
    return op.model_copy(update={"x": name(above)})


def _size(axis: str, settings: Settings) -> Expr:
    return constant(settings.sizes[axis]) if axis in settings.sizes else name(axis)


def _bad_axes(spec: Spec) -> list[Diagnostic]:
    twice = sorted({axis for axis in spec.input if spec.input.count(axis) > 1})
    return [
        Diagnostic(
            "duplicate-axis",
            f"the input has the axis {axis!r} twice",
            "give each axis a different name",
            spec.origin.at(("input",)),
        )
        for axis in twice
    ]


def _bad_names(spec: Spec, names: Iterable[str]) -> list[Diagnostic]:
    """Return the problems of nodes with several names: their op, or a duplicate name."""
    problems = []
    taken: set[str] = set()
    for node in names:
        op = spec.nodes.get(node)
        where = spec.origin.at_key(("nodes", node))
        if COMMA in node and op is not None and not isinstance(op, (Chunk, Unstack)):
            message = f"the op {op.op!r} returns one value, and {node!r} names several"
            way_out = "only unstack and chunk return several; give the node one name"
            problems.append(Diagnostic("bad-name", message, way_out, where))
        for one in node.split(COMMA):
            if one in taken:
                message = f"{one!r} is the name of two nodes"
                problems.append(Diagnostic("bad-name", message, "rename one of them", where))
            taken.add(one)
    return problems


def wrong_params(spec: Spec, params: Mapping[str, object]) -> list[Diagnostic]:
    """Return the problems of the params that are set from outside."""
    problems = []
    for key, value in params.items():
        if key in spec.params:
            known = value.value if isinstance(value, Expr) and value.is_constant else value
            if not isinstance(known, Expr):
                problems.extend(_bad_value(spec.params[key], key, known))
        elif key not in stand_in_names(spec.stands_for):
            way_out = suggestion(key, list(spec.params), f"Params of {spec.name}")
            message = f"the spec {spec.name!r} has no param {key!r}"
            problems.append(Diagnostic("unknown-param", message, way_out))
    return problems


def _bad_value(param: Param, key: str, value: object) -> list[Diagnostic]:
    """Return the problems of a value that a param is set to; `bind` checks its names."""
    finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, (bool, int, float, str)) or not finite:
        message = f"the param {key!r} cannot be {value!r}"
        return [Diagnostic("invalid-value", message, "give a number, true, false or text")]
    if not param.choices and not isinstance(value, str) and not isinstance(param.default, str):
        flag = isinstance(param.default, bool)
        if flag != isinstance(value, bool):
            shown, default = (str(v).lower() for v in (value, param.default))
            message = f"the param {key!r} cannot be {shown}"
            way_out = f"it is {'true or false' if flag else 'a number'}; its default is {default}"
            return [Diagnostic("invalid-value", message, way_out)]
    try:
        param.expression(value)
    except ValueError as failure:
        message = f"the param {key!r} cannot be {value!r}: {failure}"
        return [Diagnostic("invalid-value", message, f"its default is {param.default}")]
    return []
