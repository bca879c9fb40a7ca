"""Σ over hw of Σ over k = Σ over k of Σ over hw: the larger axes first, to store less.

The same holds for means: both are linear, and finite sums commute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from composer.graph.graph import Graph, GraphNode
from composer.graph.rewriting import Rewriting, read_once
from composer.language.expressions import constant
from composer.primitives.axes import Axes
from composer.primitives.channels import product
from composer.primitives.pool import Pool

_FEW = 16  # the largest size of a small axis, such as that of branches


def reduce_maps_first(graph: Graph) -> Graph:
    """Return the graph with chains of sums and means ordered by how much they reduce."""
    work = Rewriting(graph)
    for chain in _chains(graph, read_once(graph)):
        pools = [node.op for node in chain if isinstance(node.op, Pool)]
        x = pools[0].x
        assert x is not None
        axes = work.axes(x)
        ordered = sorted(pools, key=lambda pool: -_number(axes, pool))
        if ordered == pools:
            continue
        for node, pool in zip(chain[:-1], ordered, strict=False):
            x = constant(work.add(pool.model_copy(update={"x": x}), node))
        work.change(chain[-1], ordered[-1].model_copy(update={"x": x}))
    return work.done()


def _chains(graph: Graph, once: Mapping[str, GraphNode]) -> Iterator[list[GraphNode]]:
    """Yield the longest chains of linear pools, each read only by the next."""
    seen: set[str] = set()
    for node in graph.in_order():
        chain: list[GraphNode] = []
        here: GraphNode | None = node
        while here is not None and here.name not in seen and _is_linear(here):
            seen.add(here.name)
            chain.append(here)
            here = once.get(here.name)
        if len(chain) > 1:
            yield chain


def _is_linear(node: GraphNode) -> bool:
    op = node.op
    return isinstance(op, Pool) and op.is_whole and op.reduce.value in ("mean", "sum")


def _number(axes: Axes, pool: Pool) -> float:
    """Return how many values are reduced to one, if these are few."""
    size = product({axis: axes[axis] for axis in pool.over})
    return int(size.value) if size.is_constant and int(size.value) <= _FEW else math.inf
