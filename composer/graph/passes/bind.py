"""Put params and sizes into every expression, and compute what can be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from composer.errors import Diagnostic, listing, suggestion
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.primitives.base import replaced
from composer.spec import expressions
from composer.spec.expressions import Expr, ExpressionError, Value
from composer.spec.fields import Kind
from composer.spec.source import YamlPath

Known = Mapping[str, Value | Expr]


def bind(graph: Graph) -> Graph:
    """Return the graph with every expression bound; a node that cannot be is left without op."""
    problems = _clashes(graph)
    known = _bind_params(graph, problems)
    bound = {
        node.name: _bind_node(graph, node, known, problems)
        for node in graph.nodes
        if node.op is not None
    }
    problems.extend(_unused_params(graph))
    return graph.with_nodes(bound).with_problems(problems)


def sizes_of(graph: Graph) -> dict[str, Value | Expr]:
    """Return the size of each axis of the input, a number where it is known, else its name."""
    return dict(graph.input_axes.without(graph.spec.input[:1]).sizes)


def _clashes(graph: Graph) -> list[Diagnostic]:
    problems = []
    taken = {**dict.fromkeys(graph.spec.input, "an axis"), INPUT: "the input"}
    taken |= dict.fromkeys((node.name for node in graph.nodes), "a node")
    for name in graph.spec.params:
        if name in taken:
            problems.append(
                Diagnostic(
                    "name-clash",
                    f"the param {name!r} has the name of {taken[name]}",
                    "give the param another name",
                    graph.source.at_key(("params", name)),
                )
            )
    return problems


def _bind_params(graph: Graph, problems: list[Diagnostic]) -> dict[str, Value | Expr]:
    known = sizes_of(graph)
    known |= {name: expressions.name(name) for name in graph.broken_params}
    for name, param in graph.spec.params.items():
        path: YamlPath = ("params", name)
        value: Value = graph.settings.params.get(name, param.default)
        try:
            bound = expressions.bind(param.expression(value), known)
            strangers = bound.names - known.keys()
            if strangers:
                stranger = min(strangers)
                raise ExpressionError(
                    "unknown-name",
                    f"no size and no param before it is named {stranger!r}",
                    help=suggestion(stranger, list(known), "Known so far"),
                )
            known[name] = bound
        except ExpressionError as failure:
            known[name] = expressions.name(name)
            where = graph.source.within(path, failure.start, failure.length)
            problems.append(Diagnostic(failure.code, failure.message, failure.help, where))
    return known


def _bind_node(
    graph: Graph, node: GraphNode, known: Known, problems: list[Diagnostic]
) -> GraphNode:
    assert node.op is not None
    new: dict[YamlPath, Expr] = {}
    before = len(problems)
    for path, kind, expr in node.op.expressions():
        try:
            new[path] = _settle(expr, kind, known, str(path[-1]))
        except ExpressionError as failure:
            where = graph.source.within(
                (*node.path, *path), failure.start, failure.length
            )
            problems.append(Diagnostic(failure.code, failure.message, failure.help, where))
    if len(problems) > before:
        return replace(node, op=None)
    return replace(node, op=replaced(node.op, new))


def _settle(expr: Expr, kind: Kind, known: Known, field: str) -> Expr:
    """Return `expr` bound, as a constant or, for a size that is still open, over its names."""
    if kind.name == "node":
        bound = expressions.bind(expr, {} if expr.kind == "name" else known)
        return _settled_word(bound, kind, expr, known)
    if kind.name == "word":
        bare = expr.kind == "name" and expr.value in kind.words
        bound = expr if bare else expressions.bind(expr, known)
        return _settled_word(bound, kind, expr, known)
    bound = expressions.bind(expr, known)
    strangers = sorted(bound.names - _open_names(known))
    if strangers:
        culprit = next(e for e in expr.walk() if e.kind == "name" and e.value == strangers[0])
        raise ExpressionError(
            "unknown-name",
            f"no size and no param named {strangers[0]!r}",
            culprit.start,
            culprit.length,
            suggestion(strangers[0], list(known), "Known here"),
        )
    if bound.is_constant and (refusal := kind.refusal(bound.value)):
        raise _misfit(expr, bound, kind, known, field, refusal)
    return bound


def _settled_word(bound: Expr, kind: Kind, written: Expr, known: Known) -> Expr:
    stretch = (written.start, max(written.length, len(str(written.value))))
    if bound.kind == "if":
        open_names = listing(sorted(bound.args[0].names))
        raise ExpressionError(
            "open-choice",
            f"this depends on {open_names}, which is not known before the module is built",
            *stretch,
            "a choice between words or nodes may depend on params alone",
        )
    if bound.kind not in ("name", "constant"):
        raise ExpressionError("invalid-value", f"{written} is not a {kind.name}", *stretch)
    value = str(bound.value)
    if kind.name == "word" and (refusal := kind.refusal(value)):
        message, way_out = refusal
        raise ExpressionError("unknown-word", message, *stretch, way_out)
    return Expr("constant", value, (), *stretch)


def _open_names(known: Known) -> set[str]:
    return {n for value in known.values() if isinstance(value, Expr) for n in value.names}


def _misfit(
    expr: Expr,
    bound: Expr,
    kind: Kind,
    known: Known,
    field: str,
    refusal: tuple[str, str | None],
) -> ExpressionError:
    message, way_out = refusal
    stretch = (expr.start, expr.length)
    if kind.name != "size" or isinstance(bound.value, (bool, str)) or bound.value >= kind.low:
        said = f"{field} is {expr}, and {message}" if expr.names else message
        return ExpressionError("invalid-value", said, *stretch, way_out)
    used = {n: known[n] for n in sorted(expr.names)}
    given = ", ".join(f"{n} = {v}" for n, v in used.items())
    said = f"{field} is {expr} = {bound}" if used else f"{field} is {bound}"
    said += f", and a size is at least {kind.low}"
    way_out = None
    if used:
        way_out = f"here {given}; choose other params, or write max({expr}, {kind.low})"
    return ExpressionError("size-too-small", said, *stretch, way_out)


def _unused_params(graph: Graph) -> list[Diagnostic]:
    used = {
        name
        for node in graph.nodes
        if node.op is not None
        for _, _, expr in node.op.expressions()
        for name in expr.names
    }
    for param in graph.spec.params.values():
        if isinstance(param.default, str) and not param.choices:
            used |= param.expression(param.default).names
    if any(node.op is None for node in graph.nodes):
        return []  # a faulty node may be the one that reads it
    return [
        Diagnostic(
            "unused-param",
            f"no node reads the param {name!r}",
            "remove it, or use it",
            graph.source.at_key(("params", name)),
            severity="warning",
        )
        for name in graph.spec.params
        if name not in used
    ]
