"""All passes, in the order they run; each is a pure function from a graph to a graph."""

from __future__ import annotations

from collections.abc import Callable

from composer.graph.graph import Graph
from composer.graph.passes.bind import bind
from composer.graph.passes.check_budget import check_budget
from composer.graph.passes.check_division import check_division
from composer.graph.passes.check_output import check_output
from composer.graph.passes.check_placing import check_placing
from composer.graph.passes.check_weights import check_weights
from composer.graph.passes.connect import connect
from composer.graph.passes.contract import contract
from composer.graph.passes.fold_tokens import fold_tokens
from composer.graph.passes.forget_aliases import forget_aliases
from composer.graph.passes.infer_axes import infer_axes
from composer.graph.passes.merge_repeated import merge_repeated
from composer.graph.passes.pool_together import pool_together
from composer.graph.passes.read_parts import read_parts
from composer.graph.passes.recognise_attention import recognise_attention
from composer.graph.passes.reduce_maps_first import reduce_maps_first
from composer.graph.passes.remove_unused import remove_unused
from composer.graph.passes.start_at_identity import start_at_identity
from composer.graph.passes.take_part import take_part
from composer.graph.passes.verify import verify
from composer.graph.passes.weigh_in_parts import weigh_in_parts
from composer.graph.passes.weigh_windows import weigh_windows
from composer.language.collecting import uncollected

Pass = Callable[[Graph], Graph]

#: The checks: these note problems in the graph and continue.
CHECKS: tuple[Pass, ...] = (
    bind,  # params and sizes into every expression; `branch`, `repeat`, `unstack` expanded
    fold_tokens,  # a map as tokens, if the spec takes tokens
    connect,  # every operand exists, and there is no cycle
    infer_axes,  # the axes of every value, each with one size; `use` expanded
    check_budget,  # its values and parameters are within the limits
    check_weights,  # their number does not depend on the batch
    check_division,  # nothing divides by zero
    check_placing,  # `insert` and `identity` name existing nodes and names
    check_output,  # the output has the axes needed where it is inserted
)

#: Simplification: these need a valid graph, and do not change the result.
REWRITES: tuple[Pass, ...] = (
    remove_unused,  # nodes that the output does not depend on
    take_part,  # if sites share a node: the rest, which takes its value from outside
    forget_aliases,  # the extra names that `use`, `repeat` and the like introduce
    merge_repeated,  # equal nodes without weights become one
    start_at_identity,  # x + a (f(x) - x), if requested
)

#: Optimisation, with nodes that no spec has; each file states its algebra.
SPEEDUPS: tuple[Pass, ...] = (
    reduce_maps_first,  # Σ over hw before Σ over branches
    weigh_in_parts,  # a sum of weighted branches, branch by branch
    read_parts,  # no stack if its parts suffice
    pool_together,  # mean and max of one value
    weigh_windows,  # no windows if their weighted sum suffices
    contract,  # a sum of an outer product as a matrix product
    recognise_attention,  # softmax(q kᵀ) v written in parts
)


@uncollected()
def analyse(graph: Graph) -> Graph:
    """Run the checks; the graph returned carries every problem found."""
    for step in CHECKS:
        graph = step(graph)
    return graph


@uncollected()
def compile_graph(graph: Graph, as_written: bool = False) -> Graph:
    """Run every pass, and verify the graph after each.

    Args:
        graph: from `graph_of`.
        as_written: whether to keep the nodes of the spec, for inspection.

    Raises:
        ComposerError: the spec has errors; all are reported.
    """
    graph = analyse(graph).sound()
    for step in REWRITES if as_written else (*REWRITES, *SPEEDUPS):
        if (after := step(graph)) is not graph:
            verify(after, after=step.__name__)
        graph = after
    return graph
