"""Σ_d (a · b) becomes a matrix product where that is fastest in torch: see `product.matrices`.

The product of all pairs, with the axes of both, is never materialised.
"""

from __future__ import annotations

from composer.graph.graph import Graph
from composer.graph.rewriting import Rewriting, read_once
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.pool import Pool
from composer.primitives.product import Product, matrices


def contract(graph: Graph) -> Graph:
    """Return the graph with sums of outer products replaced by matrix products."""
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
        left, right = map(work.axes, product.of)
        if all(axis in left and axis in right for axis in pool.over) and matrices(
            left, right, pool.over
        ):
            work.change(node, Product.model_construct(op="product", of=product.of, sum=pool.over))
    return work.done()
