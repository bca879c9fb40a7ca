"""Which nodes the output depends on, under the current params and under any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from composer.graph.graph import Graph
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
    for node in graph.nodes:
        found = node.op.every_expression() if node.op is not None else ()
        refs = [expr for _, kind, expr in found if kind.names_nodes]
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


def _closure(begin: Iterable[str], reads: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(begin)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(reads.get(name, ()))
    return found
