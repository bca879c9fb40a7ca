"""stack(mean x, max x) becomes one node if nothing else reads the two: see the kernel's gradient.

The algebra is in `composer.kernels.mean_and_max`.
"""

from __future__ import annotations

from composer.graph.graph import Graph, GraphNode
from composer.graph.rewriting import Rewriting, read_once
from composer.primitives.mean_and_max import MeanAndMax
from composer.primitives.pool import Pool
from composer.primitives.stack import Stack


def pool_together(graph: Graph) -> Graph:
    """Return the graph with the mean and maximum of a value pooled by one node."""
    work, once = Rewriting(graph), read_once(graph)
    for node in graph.nodes:
        if isinstance(stack := node.op, Stack) and len(stack.of) == 2:
            parts = [graph.by_name.get(str(ref)) for ref in stack.of]
            if all(part is not None and part.name in once for part in parts):
                _join(work, node, stack, parts)
    return work.done()


def _join(work: Rewriting, node: GraphNode, stack: Stack, parts: list[GraphNode | None]) -> None:
    one, other = (part.op for part in parts if part is not None)
    if not (isinstance(one, Pool) and isinstance(other, Pool)):
        return
    if not (one.is_whole and other.is_whole):
        return
    if one.x != other.x or set(one.over) != set(other.over):
        return
    reductions = [str(one.reduce.value), str(other.reduce.value)]
    if sorted(reductions) != ["max", "mean"]:
        return
    assert one.x is not None
    mean_first = reductions[0] == "mean"
    work.change(
        node,
        MeanAndMax.model_construct(x=one.x, over=one.over, axis=stack.axis, mean_first=mean_first),
    )
