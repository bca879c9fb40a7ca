"""`insert` and `identity` of a spec refer to existing nodes and names."""

from __future__ import annotations

from collections.abc import Iterator

from composer.errors import Diagnostic, Location, suggestion
from composer.graph.graph import Graph
from composer.graph.sizes import sizes_of
from composer.language.expressions import ExpressionError, parse
from composer.language.hints import Hints
from composer.language.names import COMMA
from composer.language.source import YamlPath
from composer.language.stand_in import BEGINS_ALIKE, STANDS_FOR

#: The parts of a convolution from which a node may start.
_OF_CONVOLUTIONS = ("kernel", "bias")


def check_placing(graph: Graph) -> Graph:
    """Return the graph, noting the problems of `insert` and `identity`."""
    if graph.settings.inside:
        return graph
    return graph.with_problems([*_of_insert(graph), *_of_identity(graph)])


def _of_insert(graph: Graph) -> Iterator[Diagnostic]:
    insert = graph.spec.insert
    if insert is None:
        return
    what = STANDS_FOR.get(insert.at)
    if what is not None and graph.spec.stands_for is None:
        yield Diagnostic(
            "not-a-stand-in",
            f"{graph.spec.name!r} would replace a layer, but does not say that it stands for one",
            f"write 'stands_for: {what}', or 'at: block'",
            graph.source.at(("insert", "at")),
        )
    of_convolutions = {"match": insert.match, "absorb": insert.absorb, "share": insert.share}
    for field, told in of_convolutions.items():
        if told and insert.at != "conv":
            yield Diagnostic(
                "invalid-value",
                f"{field!r} is for convolutions, and this spec goes to each {insert.at}",
                "omit it, or write 'at: conv'",
                graph.source.at_key(("insert", field)),
            )
    if insert.share is not None:
        names = _names(graph)
        if insert.share not in names:
            where = graph.source.at(("insert", "share"))
            yield _unknown_node(insert.share, names, where, Hints())


def _of_identity(graph: Graph) -> Iterator[Diagnostic]:
    identity = graph.spec.identity
    if identity is None:
        return
    if graph.spec.stands_for not in BEGINS_ALIKE:
        stands_for = graph.spec.stands_for
        yield Diagnostic(
            "not-a-stand-in",
            "'identity' is for stand-ins for a convolution or for attention; "
            + (
                f"a stand-in for a {stands_for} takes no weights from it"
                if stands_for
                else "any other spec starts as the identity anyway"
            ),
            "omit it",
            graph.source.at_key(("identity",)),
        )
    names, hints = _names(graph), Hints()
    known_nodes = set(names)
    for name, beginning in identity.nodes.items():
        if name not in known_nodes:
            where = graph.source.at_key(("identity", "nodes", name))
            yield _unknown_node(name, names, where, hints)
        copies = beginning.copies
        if graph.spec.stands_for == "conv2d" and copies not in (None, *_OF_CONVOLUTIONS):
            yield Diagnostic(
                "invalid-value",
                f"a convolution has no weights named {copies!r}",
                suggestion(copies, _OF_CONVOLUTIONS, "Known"),
                graph.source.at(("identity", "nodes", name, "copies")),
            )
    known = {*sizes_of(graph), *graph.spec.params}
    for condition in identity.requires:
        path: YamlPath = ("identity", "requires", condition)
        try:
            unknown = sorted(parse(condition).names - known)
        except ExpressionError as failure:
            yield Diagnostic(failure.code, failure.message, failure.help, graph.source.at_key(path))
            continue
        if unknown:
            message = f"no size or param named {unknown[0]!r}"
            way_out = suggestion(unknown[0], sorted(known), "Known here")
            yield Diagnostic("unknown-name", message, way_out, graph.source.at_key(path))


def _names(graph: Graph) -> list[str]:
    return [one for node in graph.spec.nodes for one in node.split(COMMA)]


def _unknown_node(name: str, names: list[str], where: Location | None, hints: Hints) -> Diagnostic:
    way_out = hints.suggestion(name, names, "Nodes")
    return Diagnostic("unknown-node", f"no node named {name!r}", way_out, where)
