"""Σₖ xₖ ⊙ gₖ over a small axis becomes a sum of products, accumulated one by one.

The whole product x ⊙ g, over all k, is never materialised: each xₖ is read in place.
"""

from __future__ import annotations

from composer.graph.graph import Graph, GraphNode
from composer.graph.rewriting import Rewriting
from composer.language.expressions import Expr, constant
from composer.primitives.pick import Pick
from composer.primitives.reweight import Reweight
from composer.primitives.weighed_sum import WeighedSum

_FEW = 4  # values of the axis, at most


def weigh_in_parts(graph: Graph) -> Graph:
    """Return the graph with sums over few weighted branches taken branch by branch."""
    work = Rewriting(graph)
    for node in graph.nodes:
        if isinstance(op := node.op, Reweight) and len(op.sum) == 1:
            _take_apart(work, node, op)
    return work.done()


def _take_apart(work: Rewriting, node: GraphNode, op: Reweight) -> None:
    (axis,) = op.sum
    x, by = work.axes(op.x), work.axes(op.by)
    batch = work.graph.order.input[0]
    if batch not in x or axis not in by or not x[axis].is_constant:
        return
    number = int(x[axis].value)
    if number > _FEW:
        return
    picks = [
        tuple(constant(work.add(_pick(ref, axis, i), node)) for i in range(number))
        for ref in (op.x, op.by)
    ]
    work.change(node, WeighedSum.model_construct(of=picks[0], by=picks[1]))


def _pick(ref: Expr, axis: str, index: int) -> Pick:
    return Pick.model_construct(op="pick", x=ref, axis=axis, index=constant(index))
