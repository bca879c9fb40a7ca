"""Which nodes the output depends on, under the current params and under any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from composer.graph.graph import Graph, GraphNode
from composer.language.expressions import Expr, leaves


def unreached_nodes(graph: Graph, named: Callable[[Expr], set[str]]) -> frozenset[str]:
    """Return the nodes that the output reaches under other params, but not under these.

    For the shared part of a graph, everything else counts as such.

    Args:
        graph: a graph whose references are not bound yet.
        named: returns the nodes that a reference names under these params.
    """
    now: dict[str, set[str]] = {}
    ever: dict[str, set[str]] = {}
    written = [
        (node, [expr for *_, expr in node.op.references()] if node.op is not None else [])
        for node in graph.nodes
    ]
    if graph.settings.part != "shared" and _same_under_any(graph, written):
        return frozenset()
    for node, refs in written:
        for name in node.names:
            now[name] = {target for ref in refs for target in named(ref)}
            ever[name] = {str(leaf) for ref in refs for leaf in leaves(ref)}
    reached = _closure({graph.output}, now)
    if graph.settings.part == "shared":
        return frozenset(now) - reached
    outputs = {graph.output}
    if graph.spec.output is not None:
        outputs |= {str(leaf) for leaf in leaves(graph.spec.output)}
    return frozenset(_closure(outputs, ever)) - reached


def _same_under_any(graph: Graph, written: Iterable[tuple[GraphNode, Iterable[Expr]]]) -> bool:
    """Return whether params choose no node: none is named by a choice, or by a param."""
    params, output = graph.spec.params, graph.spec.output
    every = [ref for _, refs in written for ref in refs]
    every += [] if output is None else [output]
    return all(ref.kind in ("name", "constant") and ref.value not in params for ref in every)


def _closure(begin: Iterable[str], reads: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(begin)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(reads.get(name, ()))
    return found
