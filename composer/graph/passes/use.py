"""The graph of a spec that a node uses, applied to the node's operand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from composer.errors import suggestion
from composer.graph.from_spec import inner_graph, wrong_params
from composer.graph.graph import INPUT, Graph
from composer.graph.passes.bind import bind
from composer.graph.passes.connect import connect
from composer.graph.places import input_at
from composer.graph.sizes import sizes_of
from composer.language.expressions import Expr, Value
from composer.language.source import YamlPath
from composer.language.stand_in import stand_in_names
from composer.primitives import Spec
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem
from composer.primitives.places import HW
from composer.primitives.structure import Given
from composer.primitives.use import Use


def used_graph(
    graph: Graph, op: Use, known: Callable[[Expr], Axes], order: AxisOrder, room: int
) -> Graph:
    """Return the used spec's graph, bound and connected, with the axes of x as its input's.

    `room` limits the number of its nodes.

    Raises:
        AxisProblem: the value lacks axes that the spec takes, or the spec has no such param or
            node.
    """
    assert op.x is not None
    axes = known(op.x)
    spec = graph.spec.used[op.spec]
    assert isinstance(spec, Spec)
    # a spec written for particular spatial axes uses another one only on height and width
    places = graph.settings.places if graph.is_spread else HW
    takes = input_at(spec, places)
    given = axes
    _check_axes(op, spec, takes, axes)
    names = names_inside(op, known)
    axes = _called(axes, names, order)
    missing = [axis for axis in takes if axis not in axes]
    if missing or spec.input[0] != graph.spec.input[0]:
        raise AxisProblem(
            "unknown-axis",
            f"the spec {spec.name!r} takes [{', '.join(takes)}], and {str(op.x)!r} is {given}",
            ("x",),
            _way_out(missing, names) if missing else None,
        )
    _check_params(op, spec)
    params = {**_layer(graph, spec), **op.params}
    inner = bind(inner_graph(spec, params, axes, order, places, room))
    values = {node: _called(known(ref), names, order) for node, ref in op.inputs.items()}
    return connect(_with_inputs(inner, values))


def _check_params(op: Use, spec: Spec) -> None:
    """Refuse a param that the spec does not have, or an invalid value.

    Raises:
        AxisProblem: it carries the field.
    """
    for param, value in op.params.items():
        words = spec.params[param].choices if param in spec.params else (value.value,)
        if value.is_constant and isinstance(value.value, str) and not words:
            raise AxisProblem(
                "unknown-name",
                f"no size or param named {value.value!r}",
                ("params", param),
                f"{param!r} of {spec.name} is not a word; give it a number or an expression",
            )
        for problem in wrong_params(spec, {param: value}):
            raise AxisProblem(problem.code, problem.message, ("params", param), problem.help)


def _called(axes: Axes, names: Mapping[str, str], order: AxisOrder) -> Axes:
    return Axes(()).extended({names.get(a, a): size for a, size in axes.sizes}, order)


def _with_inputs(inner: Graph, values: Mapping[str, Axes]) -> Graph:
    """Return the graph of a used spec with some of its nodes replaced from outside.

    Raises:
        AxisProblem: code ``unknown-node``: it has no such node.
    """
    for name in values:
        if name not in inner.by_name:
            nodes = [node for node in inner.by_name if "." not in node]
            way_out = suggestion(name, nodes, f"Nodes of {inner.spec.name}")
            raise AxisProblem(
                "unknown-node",
                f"the spec {inner.spec.name!r} has no node {name!r}",
                ("inputs", name),
                "to set its input, use the field x" if name == INPUT else way_out,
            )
    given = {name: Given(axes=axes) for name, axes in values.items()}
    fed = inner.with_nodes(
        {name: replace(inner.by_name[name], op=op, written=op) for name, op in given.items()}
    )
    needed = {fed.output, *fed.ancestors(fed.output)}
    idle = inner.ancestors(inner.output) - needed - {INPUT}

    def stays(name: str) -> bool:
        return name in needed or not ({name} | fed.ancestors(name)) & idle

    return replace(fed, nodes=tuple(node for node in fed.nodes if stays(node.name)))


def names_inside(op: Use, known: Callable[[Expr], Axes]) -> dict[str, str]:
    """Return the name that each axis has inside a used spec, if it differs.

    An outer axis whose name means another axis inside gets a name that no spec can write.
    """
    assert op.x is not None
    here = {axis for ref in (op.x, *op.inputs.values()) for axis in known(ref)}
    new = {axis: there for there, axis in op.axes.items()}
    taken = {*here, *op.axes}
    for axis in sorted(here):
        if axis in op.axes and axis not in new:
            while (free := new.get(axis, axis) + "'") in taken:
                new[axis] = free
            new[axis] = free
            taken.add(free)
    return {axis: there for axis, there in new.items() if axis != there}


def back_again(names: Mapping[str, str], axes: Axes) -> dict[str, str]:
    """Return the outer names of the axes of a used spec's value, if they differ.

    Raises:
        AxisProblem: code ``axis-exists``: two of its axes would have one name.
    """
    back = {there: here for here, there in names.items() if there in axes}
    new = [back.get(axis, axis) for axis in axes]
    for name in new:
        if new.count(name) > 1:
            raise AxisProblem(
                "axis-exists",
                f"two axes would have the name {name!r}",
                ("axes",),
                f"inside the spec its value is {axes}; map its axis {name!r} to an axis "
                "here as well",
            )
    return back


def _layer(graph: Graph, spec: Spec) -> dict[str, Value | Expr]:
    """Return what a stand-in knows of its layer, for a used spec that also stands for one."""
    if spec.stands_for != graph.spec.stands_for:
        return {}
    names = stand_in_names(spec.stands_for)
    return {name: value for name, value in sizes_of(graph).items() if name in names}


def _check_axes(op: Use, spec: Spec, takes: tuple[str, ...], axes: Axes) -> None:
    """Refuse names that are not axes of the spec or of the value it is used on.

    Raises:
        AxisProblem: code ``unknown-axis`` or ``duplicate-axis``.
    """
    for number, (there, here) in enumerate(op.axes.items()):
        field: YamlPath = ("axes", there)
        if there not in takes:
            message = f"the input of the spec {spec.name!r} has no axis {there!r}"
            way_out = f"it takes [{', '.join(takes)}]; write 'its axis: the axis here'"
            raise AxisProblem("unknown-axis", message, field, way_out)
        if here not in axes:
            message = f"{str(op.x)!r} has no axis {here!r}"
            raise AxisProblem("unknown-axis", message, field, f"its axes are {axes}")
        if here in list(op.axes.values())[:number]:
            message = f"the axis {here!r} is named twice"
            way_out = "map each axis of the spec to a different axis"
            raise AxisProblem("duplicate-axis", message, field, way_out)
        if there == takes[0] != here:
            message = f"the batch {there!r} of the spec {spec.name!r} can't be {here!r}"
            raise AxisProblem("invalid-value", message, field, "the batch axis can't be mapped")


def _way_out(missing: list[str], names: Mapping[str, str]) -> str:
    """Return the way out for missing axes, which may have been mapped to other ones."""
    gone = [axis for axis in missing if axis in names]
    if gone:
        there = names[gone[0]]
        return (
            f"{gone[0]!r} is {there!r} in the spec; say which axis is its {gone[0]!r}, such as "
            f"'axes: {{{there}: {gone[0]}, {gone[0]}: {there}}}'"
        )
    return f"use a value that has {', '.join(missing)}"
