"""The graph of a spec that a node uses, on the value it is used on."""

from __future__ import annotations

from composer.graph.from_spec import inner_graph, wrong_params
from composer.graph.graph import Graph
from composer.graph.passes.bind import bind
from composer.graph.passes.connect import connect
from composer.graph.places import input_at
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
    missing = [axis for axis in takes if axis not in axes]
    if missing or spec.input[0] != graph.spec.input[0]:
        raise AxisProblem(
            "unknown-axis",
            f"the spec {spec.name!r} takes [{', '.join(takes)}], and {str(op.x)!r} is {axes}",
            ("x",),
            f"give it a value that has {', '.join(missing)}" if missing else None,
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
    return connect(bind(inner_graph(spec, op.params, axes, order, places)))
