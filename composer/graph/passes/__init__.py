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

#: Find what is wrong: these note problems in the graph and go on.
CHECKS: tuple[Pass, ...] = (
    bind,  # params and sizes into every expression; `branch`, `repeat`, `unstack` expanded
    fold_tokens,  # a map's places as tokens, where the spec takes tokens
    connect,  # every operand exists, and there is no cycle
    infer_axes,  # the axes of every value, each axis with one size; `use` put in place
    check_budget,  # there is room for its values and parameters
    check_weights,  # as many whatever the batch
    check_division,  # nothing divides by zero
    check_placing,  # where it goes and how it begins there, of nodes and names that it has
    check_output,  # what is inserted gives what is wanted in its place
)

#: Make it what was meant, and small: these need a sound graph, and change no number.
REWRITES: tuple[Pass, ...] = (
    remove_unused,  # nodes that the output does not depend on
    take_part,  # where sites share a node, all the rest, which takes its value from outside
    forget_aliases,  # the names that `use`, `repeat` and the like leave behind
    merge_repeated,  # equal nodes without weights become one
    start_at_identity,  # x + a (f(x) - x), where it is asked for
)

#: Make it fast, by nodes that no spec has; each says its algebra.
SPEEDUPS: tuple[Pass, ...] = (
    reduce_maps_first,  # Σ over hw before Σ over branches
    weigh_in_parts,  # a sum of weighed branches, branch by branch
    read_parts,  # no stack where its parts will do
    pool_together,  # mean and max of one value
    weigh_windows,  # no windows where their weighted sum will do
    contract,  # a sum of an outer product as a product of matrices
    recognise_attention,  # softmax(q kᵀ) v in its parts
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
        graph: as `graph_of` gives it.
        as_written: whether to leave the nodes those of the spec, for who wants to look at them.

    Raises:
        ComposerError: the spec is at fault; every problem is reported.
    """
    graph = analyse(graph).sound()
    for step in REWRITES if as_written else (*REWRITES, *SPEEDUPS):
        if (after := step(graph)) is not graph:
            verify(after, after=step.__name__)
        graph = after
    return graph
