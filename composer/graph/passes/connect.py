"""Every operand exists, and no node depends on itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from composer.errors import Diagnostic, suggestion
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.order import cycles
from composer.graph.sizes import sizes_of
from composer.language.expressions import Expr, leaves
from composer.language.hints import Hints
from composer.language.names import COMMA
from composer.language.source import YamlPath
from composer.primitives.base import refers


def connect(graph: Graph) -> Graph:
    """Return the graph, noting unknown operands and cycles; nodes with one have no op."""
    problems: list[Diagnostic] = []
    known = {INPUT, *graph.by_name}
    above = [INPUT]
    hints = Hints()
    broken: dict[str, GraphNode] = {}
    sizes: dict[str, object] = {**sizes_of(graph), **graph.spec.params}
    for node in graph.nodes:
        for path, ref, numbers in _operands(graph, node, sizes):
            word = str(ref)
            if word in known:
                continue
            written = graph.within(node, path, ref.start, len(word))
            way_out = hints.suggestion(word, [*above, *numbers], "Defined so far")
            message = f"no node{', size or param' if numbers else ''} named {word!r}"
            if COMMA in word:
                message = f"the node above returns several values: {word}"
                way_out = "name the one that it reads: x: …"
            if word in graph.spec.params and not numbers:
                message = f"expected a node, but {word!r} is a param"
                node_of_it = f"{{op: parameter, axes: {{}}, init: {word}}}"
                way_out = f"for a learned number, write a node: {node_of_it}"
            problems.append(Diagnostic("unknown-node", message, way_out, written))
            broken[node.name] = replace(node, op=None)
        above += [node.name] if "." not in node.name else []
    graph = graph.with_nodes(broken)
    if graph.output == INPUT:
        problems.append(_nothing_done(graph))
        graph = replace(graph, output=graph.nodes[-1].name)
    if graph.output not in graph.by_name:
        problems += _no_output(graph)
        graph = replace(graph, output=graph.nodes[-1].name)
    circles, waiting = cycles(graph.reads)
    problems += [_of_cycle(graph, circle) for circle in circles]
    return _without_ops(graph, waiting).with_problems(problems)


def _of_cycle(graph: Graph, circle: list[str]) -> Diagnostic:
    node = graph.by_name[circle[-1]]
    assert node.op is not None
    path = next(p for p, ref in node.op.operands() if str(ref) == circle[-2])
    return Diagnostic(
        "cycle",
        f"these nodes read each other in a cycle: {' -> '.join(circle)}",
        "make one of them read an earlier node",
        graph.where(node, path),
    )


def _without_ops(graph: Graph, names: Collection[str]) -> Graph:
    return graph.with_nodes({name: replace(graph.by_name[name], op=None) for name in names})


def _no_output(graph: Graph) -> Iterator[Diagnostic]:
    """Yield the problem of an output that is not a node, unless it was already reported."""
    name = graph.output
    if COMMA not in name:
        way_out = suggestion(name, list(graph.by_name), "Nodes")
        where = graph.source.at(("output",))
        yield Diagnostic("unknown-node", f"no node named {name!r}", way_out, where)
        return
    where = graph.source.at_key(("nodes", name))
    if where not in [problem.where for problem in graph.problems]:
        message = f"the last node returns several values, and a spec has one output: {name}"
        way_out = f"name the output: 'output: {name.split(COMMA)[0]}'"
        yield Diagnostic("unknown-node", message, way_out, where)


def _nothing_done(graph: Graph) -> Diagnostic:
    """Return the problem of a spec whose output is its input."""
    names = [node.name for node in graph.nodes if "." not in node.name]
    return Diagnostic(
        "invalid-value",
        "the output is the input itself, so the spec does nothing",
        f"name the node that is the output. Nodes: {', '.join(names)}",
        graph.source.at(("output",)),
    )


def _operands(
    graph: Graph, node: GraphNode, sizes: Mapping[str, object]
) -> Iterator[tuple[YamlPath, Expr, Mapping[str, object]]]:
    """Yield what the node reads, and what it would read under other params.

    Each comes with the names of sizes and params that are allowed in its place.
    """
    if node.op is None:
        return
    written = dict((node.written or node.op).operands())
    for path, kind, ref in node.op.references():
        if not (kind.name == "node" or (kind.name == "operand" and refers(ref))):
            continue
        numbers = sizes if kind.name == "operand" else {}
        named = [
            leaf
            for leaf in leaves(written.get(path, ref))
            if leaf.value not in graph.spec.params
            and not (numbers and (leaf.value in numbers or not isinstance(leaf.value, str)))
        ]
        yield from ((path, leaf, numbers) for leaf in named or [ref])
