"""All passes, in the order they run; each is a pure function from a graph to a graph."""

from __future__ import annotations

from collections.abc import Callable

from composer.graph.graph import Graph
from composer.graph.passes.bind import bind
from composer.graph.passes.check_output import check_output
from composer.graph.passes.connect import connect
from composer.graph.passes.infer_axes import infer_axes
from composer.graph.passes.merge_repeated import merge_repeated
from composer.graph.passes.remove_unused import remove_unused
from composer.graph.passes.start_at_identity import start_at_identity
from composer.graph.passes.verify import verify

Pass = Callable[[Graph], Graph]

#: Find what is wrong: these note problems in the graph and go on.
CHECKS: tuple[Pass, ...] = (
    bind,  # params and sizes into every expression, words and node names settled
    connect,  # every operand exists, and there is no cycle
    infer_axes,  # the axes of every value, each axis with one size
    check_output,  # what is inserted gives back the axes it was given
)

#: Make it smaller and faster: these need a sound graph, and change no number.
REWRITES: tuple[Pass, ...] = (
    remove_unused,  # nodes that the output does not depend on
    merge_repeated,  # equal nodes without weights become one
    start_at_identity,  # x + a (f(x) - x), where it is asked for
)


def analyse(graph: Graph) -> Graph:
    """Run the checks; the graph returned carries every problem found."""
    for step in CHECKS:
        graph = step(graph)
    return graph


def compile_graph(graph: Graph) -> Graph:
    """Run every pass, and verify the graph after each.

    Raises:
        ComposerError: the spec is at fault; every problem is reported.
    """
    graph = analyse(graph).sound()
    for step in REWRITES:
        graph = step(graph)
        verify(graph, after=step.__name__)
    return graph
