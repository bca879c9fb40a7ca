"""The graph of a spec that a node uses, on the value it is used on."""

from __future__ import annotations

from collections.abc import Mapping

from composer.graph.from_spec import inner_graph, wrong_params
from composer.graph.graph import Graph
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
from composer.primitives.use import Use


def used_graph(graph: Graph, op: Use, axes: Axes, order: AxisOrder) -> Graph:
    """Return the used spec's graph, bound and connected, with `axes` as those of its input.

    Raises:
        AxisProblem: the value lacks axes that the spec takes, or a param is none of the spec's.
    """
    spec = graph.spec.used[op.spec]
    assert isinstance(spec, Spec)
    # a spec that is written for its own places uses another on height and width alone
    places = graph.settings.places if graph.is_spread else HW
    takes = input_at(spec, places)
    given = axes
    _check_axes(op, spec, takes, axes)
    names = names_inside(axes, op.axes)
    axes = Axes(()).extended({names.get(a, a): size for a, size in axes.sizes}, order)
    missing = [axis for axis in takes if axis not in axes]
    if missing or spec.input[0] != graph.spec.input[0]:
        raise AxisProblem(
            "unknown-axis",
            f"the spec {spec.name!r} takes [{', '.join(takes)}], and {str(op.x)!r} is {given}",
            ("x",),
            _way_out(missing, names) if missing else None,
        )
    for param, value in op.params.items():
        words = spec.params[param].choices if param in spec.params else (value.value,)
        if value.is_constant and isinstance(value.value, str) and not words:
            raise AxisProblem(
                "unknown-name",
                f"no size and no param named {value.value!r}",
                ("params", param),
                f"{param!r} of {spec.name} is no word; give it a number or an expression",
            )
        for problem in wrong_params(spec, {param: value}):
            raise AxisProblem(problem.code, problem.message, ("params", param), problem.help)
    params = {**_layer(graph, spec), **op.params}
    return connect(bind(inner_graph(spec, params, axes, order, places)))


def names_inside(axes: Axes, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the name that each axis has inside a used spec, where that is another.

    Args:
        axes: those of the value that it is used on.
        ours: by the names of the spec, the axes of here.

    An axis of here whose name means another one there gets a name that no spec can write.
    """
    new = {axis: there for there, axis in ours.items()}
    taken = {*axes, *ours}
    for axis in axes:
        if axis in ours and axis not in new:
            while (free := new.get(axis, axis) + "'") in taken:
                new[axis] = free
            new[axis] = free
            taken.add(free)
    return {axis: there for axis, there in new.items() if axis != there}


def back_again(names: Mapping[str, str], axes: Axes) -> dict[str, str]:
    """Return the names of here for those of a used spec's value, where they are others.

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
                f"the value of the spec is {axes} there; give its axis {name!r} a name of here, "
                "too",
            )
    return back


def _layer(graph: Graph, spec: Spec) -> dict[str, Value | Expr]:
    """Return what a stand-in knows of its layer, for one that it uses and that stands for such."""
    if spec.stands_for != graph.spec.stands_for:
        return {}
    names = stand_in_names(spec.stands_for)
    return {name: value for name, value in sizes_of(graph).items() if name in names}


def _check_axes(op: Use, spec: Spec, takes: tuple[str, ...], axes: Axes) -> None:
    """Refuse names that are no axes, of the spec or of the value it is used on.

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
            way_out = "each axis of the spec is another one here"
            raise AxisProblem("duplicate-axis", message, field, way_out)
        if there == takes[0] != here:
            message = f"the batch {there!r} of the spec {spec.name!r} can't be {here!r}"
            raise AxisProblem("invalid-value", message, field, "the batch stays the batch")


def _way_out(missing: list[str], names: Mapping[str, str]) -> str:
    """Return how a value comes to the axes that it lacks, maybe for they went to others."""
    gone = [axis for axis in missing if axis in names]
    if gone:
        there = names[gone[0]]
        return (
            f"{gone[0]!r} is {there!r} there; say which axis of here is its {gone[0]!r}, such as "
            f"'axes: {{{there}: {gone[0]}, {gone[0]}: {there}}}'"
        )
    return f"give it a value that has {', '.join(missing)}"
