"""From a user's word for a spec to a checked spec and its graph."""

from __future__ import annotations

import math
from os import PathLike, fspath

from composer.errors import ComposerError, Diagnostic, in_order_of_text, suggestion
from composer.graph.graph import INPUT, Graph, GraphNode, Settings
from composer.graph.passes import analyse
from composer.primitives import Spec, op_fields
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Primitive
from composer.spec.expressions import Expr, constant, name
from composer.spec.library import find_spec
from composer.spec.models import Param
from composer.spec.reader import Reading, read_spec


def check_text(text: str, file: str) -> tuple[Spec | None, tuple[Diagnostic, ...]]:
    """Return the spec where it is sound, and every problem, errors and warnings alike."""
    try:
        reading = read_spec(text, file, Spec, op_fields())
    except ComposerError as failure:
        return None, failure.diagnostics
    if reading.spec is None:
        return None, in_order_of_text(reading.problems)
    graph = analyse(graph_of(reading.spec, Settings(), reading))
    found = in_order_of_text((*graph.errors, *graph.warnings))
    return (None if graph.errors else reading.spec), found


def load_spec(word: str | PathLike[str] | Spec) -> Spec:
    """Return the spec that `word` names: a shipped name, a path, or the text itself.

    Raises:
        ComposerError: it is not found, or not a sound spec; it carries every problem.
    """
    if isinstance(word, Spec):
        return word
    spec, problems = check_text(*find_spec(fspath(word)))
    if spec is None:
        raise ComposerError([p for p in problems if p.severity == "error"])
    return spec


def graph_of(spec: Spec, settings: Settings, reading: Reading[Spec] | None = None) -> Graph:
    """Return the spec as a graph, not yet bound; faulty nodes of a `reading` stand without op.

    Raises:
        ComposerError: a setting names a param that the spec has not, or a value it may not have.
    """
    _check_params(spec, settings)
    names = reading.node_names if reading else tuple(spec.nodes)
    nodes: list[GraphNode] = []
    above = INPUT
    for node_name in names:
        op = spec.nodes.get(node_name)
        nodes.append(GraphNode(node_name, _wired(op, above), ("nodes", node_name)))
        above = node_name
    layout = settings.layout or spec.input
    axes = Axes(tuple((axis, _size(axis, settings)) for axis in layout))
    return Graph(
        spec=spec,
        source=spec.origin,
        settings=settings,
        nodes=tuple(nodes),
        output=spec.output or names[-1],
        order=AxisOrder(layout),
        input_axes=axes,
        problems=(*(reading.problems if reading else ()), *_bad_axes(spec)),
        broken_params=reading.broken_params if reading else frozenset(),
    )


def _wired(op: Primitive | None, above: str) -> Primitive | None:
    """Let an op that does not say what it reads read the node above."""
    if op is None or "x" not in type(op).model_fields or getattr(op, "x") is not None:  # noqa: B009
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
            "each axis has a name of its own",
            spec.origin.at(("input",)),
        )
        for axis in twice
    ]


def _check_params(spec: Spec, settings: Settings) -> None:
    problems = []
    for key, value in settings.params.items():
        if key not in spec.params:
            way_out = suggestion(key, list(spec.params), f"Params of {spec.name}")
            message = f"the spec {spec.name!r} has no param {key!r}"
            problems.append(Diagnostic("unknown-param", message, way_out))
            continue
        problems.extend(_bad_value(spec.params[key], key, value))
    if problems:
        raise ComposerError(problems)


def _bad_value(param: Param, key: str, value: object) -> list[Diagnostic]:
    """Return what is wrong with a value that a param is set to; `bind` sees to its names."""
    finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, (bool, int, float, str)) or not finite:
        message = f"the param {key!r} cannot be {value!r}"
        return [Diagnostic("invalid-value", message, "give a number, true, false or text")]
    try:
        param.expression(value)
    except ValueError as failure:
        message = f"the param {key!r} cannot be {value!r}: {failure}"
        return [Diagnostic("invalid-value", message, f"its default is {param.default}")]
    return []
