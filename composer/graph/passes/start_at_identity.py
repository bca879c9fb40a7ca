"""f(x) becomes x + a (f(x) - x), with `a` a learned number that begins at zero."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive
from composer.primitives.parameter import Parameter
from composer.spec.expressions import constant


def start_at_identity(graph: Graph) -> Graph:
    """Return the graph that computes its input exactly until `a` has learned, where asked for."""
    if graph.settings.init != "identity":
        return graph
    blend, change, scaled, begun = (
        _free(graph, name) for name in ("blend", "blend_change", "blend_scaled", "blend_out")
    )
    path = graph.by_name[graph.output].path

    def node(name: str, op: Primitive, axes: Axes) -> GraphNode:
        return GraphNode(name, op, path, axes)

    def arithmetic(name: str, op: str, *of: str) -> GraphNode:
        operands = tuple(constant(ref) for ref in of)
        return node(name, Arithmetic.model_construct(op=op, of=operands), graph.input_axes)

    nodes = (
        node(blend, Parameter.model_construct(op="parameter", axes={}, init=constant(0.0)),
             Axes(())),
        arithmetic(change, "sub", graph.output, INPUT),
        arithmetic(scaled, "mul", blend, change),
        arithmetic(begun, "add", INPUT, scaled),
    )
    return replace(graph, nodes=(*graph.nodes, *nodes), output=begun)


def _free(graph: Graph, name: str) -> str:
    while name in graph.by_name:
        name += "_"
    return name
