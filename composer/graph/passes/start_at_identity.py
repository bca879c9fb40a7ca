"""f(x) becomes x + a (f(x) - x), with `a` a learned number that begins at zero.

Where f(x) begins as x by itself, as x + γ g(x) does with γ = 0, it stays f(x): beside such an f no
`a` would have a gradient, nor f beside that `a`, and neither would ever learn.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from composer.errors import ComposerError, Diagnostic
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.language.expressions import constant, difference
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive
from composer.primitives.initialise import Init
from composer.primitives.parameter import Parameter


def start_at_identity(graph: Graph) -> Graph:
    """Return the graph that computes its input exactly until `a` has learned, where asked for.

    Raises:
        ComposerError: the output has other axes than the input, so it cannot begin as that.
    """
    if graph.settings.init != "identity":
        return graph
    _need_input_axes(graph)
    if _begins_as_input(graph):
        return replace(graph, settings=replace(graph.settings, init="paper"))
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
    done = replace(graph.settings, init="paper")
    return replace(graph, nodes=(*graph.nodes, *nodes), output=begun, settings=done)


def _begins_as_input(graph: Graph) -> bool:
    """Return whether the output is the input, and terms that parameters of 0 make 0."""
    zero: set[str] = set()
    same = {INPUT}
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Parameter):
            if op.init.value is not None and op.init.value.value == 0:
                zero.add(node.name)
        elif isinstance(op, Arithmetic):
            of = [str(one) for one in op.of]
            rest = [one for one in of if one not in zero]
            if op.op == "mul" and len(rest) < len(of):
                zero.add(node.name)
            elif op.op == "add" and len(rest) == 1 and rest[0] in same:
                same.add(node.name)
    return graph.output in same


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
            f"{_shown(graph.input_axes)}, so it cannot begin as its input",
            "begin as the paper does, or give back the axes of the input",
            graph.where(node),
        )
    )


def _shown(axes: Axes) -> str:
    sized = (n if str(s) == n else f"{n}: {s}" for n, s in axes.sizes)
    return f"[{', '.join(sized)}]"
