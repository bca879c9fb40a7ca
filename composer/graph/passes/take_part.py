"""For a spec whose sites share a node: the rest takes that node's value from outside."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import Graph
from composer.graph.passes.remove_unused import remove_unused
from composer.primitives.structure import Given


def take_part(graph: Graph) -> Graph:
    """Return the graph with the shared node as a second input, if requested."""
    insert = graph.spec.insert
    if graph.settings.part != "rest" or insert is None or insert.share is None:
        return graph
    shared = graph.by_name[insert.share]
    assert shared.axes is not None
    given = replace(shared, op=Given(axes=shared.axes))
    return remove_unused(graph.with_nodes({shared.name: given}))
