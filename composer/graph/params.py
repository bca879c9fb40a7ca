"""The params of a spec: their values under the settings, and their problems."""

from __future__ import annotations

from composer.errors import Diagnostic, suggestion
from composer.graph.graph import INPUT, Graph
from composer.graph.places import value_at_places
from composer.graph.scope import Scope, all_known
from composer.graph.sizes import sizes_of
from composer.language import expressions
from composer.language.expressions import MAX_PARTS, Expr, ExpressionError
from composer.language.source import YamlPath
from composer.language.stand_in import GENERAL, stand_in_names


def clashes(graph: Graph) -> list[Diagnostic]:
    """Return the params whose names already mean something else."""
    taken = {**dict.fromkeys(graph.input, "an axis"), INPUT: "the input"}
    taken |= dict.fromkeys((n for node in graph.nodes for n in node.names), "a node")
    layer = f"a size of the {graph.spec.stands_for} it stands for"
    taken |= dict.fromkeys(stand_in_names(graph.spec.stands_for), layer)
    return [
        Diagnostic(
            "name-clash",
            f"the param {name!r} has the name of {taken[name]}",
            "give the param another name",
            graph.source.at_key(("params", name)),
        )
        for name in graph.spec.params
        if name in taken
    ]


def bind_params(graph: Graph, problems: list[Diagnostic]) -> Scope:
    """Return the names that an expression may use, sizes and params; note params without value."""
    known = Scope(sizes_of(graph) | {name: expressions.name(name) for name in graph.broken_params})
    if graph.spec.stands_for == "conv2d":
        known.general = GENERAL
    for name, param in graph.spec.params.items():
        value = graph.settings.params.get(name, param.default)
        if isinstance(value, Expr):
            known.put(name, value)
            continue
        try:
            written = value_at_places(graph, name, param.expression(value))
            check_words(graph, written)
            bound = expressions.bind(written, known)
            if bound.is_long:
                raise _too_long(written)
            known.put(name, all_known(bound, known, "Known so far"))
        except ExpressionError as failure:
            known.put(name, expressions.name(name))
            problems.append(_of_param(graph, name, failure))
    return known


def _too_long(written: Expr) -> ExpressionError:
    message = f"with the params above substituted, this has more than {MAX_PARTS} operations"
    way_out = "let fewer params depend on one another"
    return ExpressionError("value-too-large", message, written.start, written.length, way_out)


def _of_param(graph: Graph, name: str, failure: ExpressionError) -> Diagnostic:
    """Return the problem at the param's default, or without a location if it was set from outside.

    An unknown name was probably meant as a word, so the way out says how a param takes words.
    """
    path: YamlPath = ("params", name)
    if (*path, "default") in graph.source.values:
        path = (*path, "default")
    where = graph.source.within(path, failure.start, failure.length)
    way_out, param = failure.help, graph.spec.params[name]
    if name in graph.settings.params:
        said = f"the param {name!r} is set to {graph.settings.params[name]!r}: {failure.message}"
        return Diagnostic(failure.code, said, way_out)
    if failure.code == "unknown-name" and str(param.default).isidentifier():
        choices = f"{{default: {param.default}, choices: [{param.default}, …]}}"
        way_out = f"{way_out}; for a word, list its choices: {choices}"
    return Diagnostic(failure.code, failure.message, way_out, where)


def check_words(graph: Graph, expr: Expr) -> None:
    """Refuse ``combine == prodct``, where a param is compared with a word it can never be.

    Raises:
        ExpressionError: code ``unknown-word``.
    """
    for part in expr.walk():
        if part.kind not in ("==", "!="):
            continue
        for this, other in (part.args, part.args[::-1]):
            param = graph.spec.params.get(str(this.value)) if this.kind == "name" else None
            if param is None or not param.choices or other.kind not in ("name", "constant"):
                continue
            if other.value not in (*param.choices, *graph.spec.params):
                raise ExpressionError(
                    "unknown-word",
                    f"the param {this.value!r} is never {str(other)!r}",
                    other.start,
                    other.length,
                    suggestion(str(other), list(param.choices), "Its choices"),
                )


def unused_params(graph: Graph) -> list[Diagnostic]:
    """Return the params that nothing reads."""
    if not graph.spec.params:
        return []
    used = {
        name
        for node in graph.nodes
        if node.op is not None
        for _, _, expr in node.op.every_expression()
        if expr.kind != "constant"
        for name in expr.names
    }
    if graph.spec.output is not None:
        used |= graph.spec.output.names
    for param in graph.spec.params.values():
        if isinstance(param.default, str) and not param.choices:
            used |= param.expression(param.default).names
    return [
        _unused_param(graph, name)
        for name in graph.spec.params
        if name not in used and not graph.source.is_inherited(("params", name))
    ]


def _unused_param(graph: Graph, name: str) -> Diagnostic:
    """Return a warning; in a variant an error, since it was meant to change a param of the base."""
    where = graph.source.at_key(("params", name))
    spec, base = graph.spec.extends, graph.source.base
    if base is None or ("params", name) in base.values:
        message = f"no node reads the param {name!r}"
        return Diagnostic(
            "unused-param", message, "remove it, or use it", where, severity="warning"
        )
    theirs = [p for p in graph.spec.params if ("params", p) in base.values]
    message = f"the spec {spec!r} has no param {name!r}, and no node reads it"
    return Diagnostic(
        "unknown-param", message, suggestion(name, theirs, f"Params of {spec}"), where
    )
