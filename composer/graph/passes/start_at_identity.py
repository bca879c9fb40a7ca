"""f(x) becomes x + a (f(x) - x), with `a` a learned scalar initialised to zero.

A mechanism that already starts as the identity, x + γ g(x) with γ = 0, is not changed: with two
zeros, each a factor of the other's gradient, neither would learn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from composer.errors import ComposerError, Diagnostic
from composer.graph.begins import begins_as_input
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.language.expressions import constant, difference
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive
from composer.primitives.initialise import Init
from composer.primitives.parameter import Parameter


def start_at_identity(graph: Graph) -> Graph:
    """Return the graph that computes its input exactly until `a` is trained, if requested.

    Raises:
        ComposerError: the output's axes differ from the input's, so no identity is possible.
    """
    if graph.settings.init != "identity":
        return graph
    _need_input_axes(graph)
    done = replace(graph.settings, init="paper")
    if begins_as_input(graph):
        return replace(graph, settings=done)
    names = ("blend", "blend_change", "blend_scaled", "blend_out")
    blend, change, scaled, begun = map(graph.free_name, names)
    path = graph.by_name[graph.output].path

    def node(name: str, op: Primitive, axes: Axes) -> GraphNode:
        return GraphNode(name, op, path, axes)

    def arithmetic(name: str, op: Literal["add", "sub", "mul"], *of: str) -> GraphNode:
        operands = tuple(constant(ref) for ref in of)
        return node(name, Arithmetic.model_construct(op=op, of=operands), graph.input_axes)

    zero = Init(value=constant(0.0))
    nodes = (
        node(blend, Parameter.model_construct(op="parameter", axes={}, init=zero), Axes(())),
        arithmetic(change, "sub", graph.output, INPUT),
        arithmetic(scaled, "mul", blend, change),
        arithmetic(begun, "add", INPUT, scaled),
    )
    return replace(graph, nodes=(*graph.nodes, *nodes), output=begun, settings=done)


def _need_input_axes(graph: Graph) -> None:
    node = graph.by_name[graph.output]
    assert node.axes is not None
    have, want = dict(node.axes.sizes), dict(graph.input_axes.sizes)
    if have.keys() == want.keys() and all(difference(have[a], want[a]) is None for a in want):
        return
    raise ComposerError(
        Diagnostic(
            "output-differs",
            f"the output {node.name!r} is {_shown(node.axes)}, and the input is "
            f"{_shown(graph.input_axes)}, so it cannot start as the identity",
            "use --init paper, or return the axes of the input",
            graph.where(node),
        )
    )


def _shown(axes: Axes) -> str:
    sized = (n if str(s) == n else f"{n}: {s}" for n, s in axes.sizes)
    return f"[{', '.join(sized)}]"
