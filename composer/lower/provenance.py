"""The provenance of an fx node: the spec, its node, the line of the text."""

from __future__ import annotations

from torch import fx

from composer.graph.graph import INPUT, Graph, GraphNode


def mark(written: fx.Node, graph: Graph, node: GraphNode | None = None) -> None:
    """Record in the `meta` of an fx node its origin: a node of the spec, or the input.

    torch shows the stack trace if that node fails.
    """
    name = node.name if node is not None else INPUT
    place = graph.where(node) if node is not None else graph.source.at(("input",))
    written.meta["composer"] = {
        "spec": graph.spec.name,
        "node": name,
        "file": place.file if place else None,
        "line": place.line if place else None,
    }
    if place is not None:
        written.meta["stack_trace"] = (
            f'  File "{place.file}", line {place.line}, in {name}\n    {place.text.strip()}\n'
        )
