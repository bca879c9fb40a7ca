"""Σ_d (a · b), where a and b each have an axis that the other has not, is a product of matrices.

The outer product, with the axes of both, is never written.
"""

from __future__ import annotations

from composer.graph.graph import Graph
from composer.graph.rewriting import Rewriting, read_once
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.contraction import Contraction
from composer.primitives.pool import Pool


def contract(graph: Graph) -> Graph:
    """Return the graph with sums of outer products as products of matrices."""
    work, once = Rewriting(graph), read_once(graph)
    for node in graph.nodes:
        pool = node.op
        if not isinstance(pool, Pool) or not pool.is_whole or pool.reduce.value != "sum":
            continue
        product = work.op(str(pool.x))
        if not isinstance(product, Arithmetic) or product.op != "mul" or str(pool.x) not in once:
            continue
        if len(product.of) != 2 or product.numbers:
            continue
        a, b = (set(work.axes(ref)) for ref in product.of)
        if a - b and b - a and set(pool.over) <= a & b:
            left, right = product.of
            work.change(node, Contraction.model_construct(a=left, b=right, over=pool.over))
    return work.done()
