"""Σ over a window of unfold(x) ⊙ g reads the values of each window in place.

    Σ_k split(unfold(x))_k ⊙ g_k   is   Σ_k window_k(split(x)) ⊙ g_k

The windows, one map per window value, are never materialised.
"""

from __future__ import annotations

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.rewriting import Rewriting, read_once
from composer.language.expressions import Expr, constant
from composer.primitives.product import Product
from composer.primitives.split import Split
from composer.primitives.unfold import Unfold
from composer.primitives.weighed_windows import WeighedWindows


def weigh_windows(graph: Graph) -> Graph:
    """Return the graph with windows weighted and summed in one node."""
    work, once = Rewriting(graph), read_once(graph)
    for node in graph.nodes:
        if not isinstance(product := node.op, Product):
            continue
        for windows, by in (product.of, product.of[::-1]):
            splits, unfold = _unfolded(work, once, windows)
            if unfold is not None and _suits(work, product, windows, unfold, by):
                _put(work, node, splits, unfold, by)
                break
    return work.done()


def _unfolded(
    work: Rewriting, once: dict[str, GraphNode], ref: Expr
) -> tuple[list[Split], Unfold | None]:
    """Return the windows that a value consists of, and how other axes are split after it."""
    splits: list[Split] = []
    while str(ref.value) in once and str(ref.value) != INPUT:
        op = work.op(str(ref.value))
        if isinstance(op, Unfold):
            touched = {*op.over, *op.into}
            return splits, None if any(split.axis in touched for split in splits) else op
        if not isinstance(op, Split):
            break
        assert op.x is not None
        splits.append(op)
        ref = op.x
    return splits, None


def _suits(work: Rewriting, product: Product, windows: Expr, unfold: Unfold, by: Expr) -> bool:
    """Return whether the sum is over a window, and the weights differ per place."""
    axes = work.axes(by)
    return (
        set(product.sum) == set(unfold.into)
        and set(unfold.over) <= set(axes)
        and set(axes) <= set(work.axes(windows))
    )


def _put(work: Rewriting, node: GraphNode, splits: list[Split], unfold: Unfold, by: Expr) -> None:
    x = unfold.x
    assert x is not None
    for split in reversed(splits):
        x = constant(work.add(split.model_copy(update={"x": x}), node))
    op = WeighedWindows.model_construct(x=x, by=by, into=unfold.into, slide=unfold.slide())
    work.change(node, op)
