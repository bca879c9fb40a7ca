"""The output has the axes of the input where it is inserted; every node is used."""

from __future__ import annotations

from composer.errors import Diagnostic
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.sizes import sizes_of
from composer.language.expressions import Expr, bind, difference, evaluate
from composer.language.names import COMMA
from composer.language.stand_in import GENERAL, convolved
from composer.primitives.axes import Axes
from composer.primitives.structure import Alias


def check_output(graph: Graph) -> Graph:
    """Return the graph, noting a wrong output and nodes that nothing can read."""
    problems = [*_unread(graph)]
    node = graph.by_name[graph.output]
    faulty = graph.spec.insert is None and ("insert",) in graph.source.values
    placed = not faulty and (graph.spec.insert is not None or graph.spec.stands_for is not None)
    if _is_the_input(graph):
        problems.append(
            Diagnostic(
                "invalid-value",
                f"the output {node.name!r} is the input itself, so the spec does nothing",
                "choose other params, or another output",
                graph.where(node),
            )
        )
    elif node.axes is not None and placed and graph.settings.part != "shared":
        problems += _differences(graph, node, node.axes)
    return graph.with_problems(problems)


def unlike_input(graph: Graph) -> list[Diagnostic]:
    """Return the problem of an output that can't replace the input, if there is one."""
    node = graph.by_name[graph.output]
    return [] if node.axes is None else _differences(graph, node, node.axes)


def _is_the_input(graph: Graph) -> bool:
    """Return whether the output is only another name for the input, as after `repeat` 0 times."""
    name = graph.output
    while name != INPUT and isinstance(op := graph.by_name[name].op, Alias):
        name = str(op.x)
    return name == INPUT


def _wanted(graph: Graph) -> tuple[Axes, str]:
    """Return the axes that the output must have, and where they come from."""
    axes = graph.input_axes
    if graph.spec.stands_for == "pool":
        return axes.without(graph.settings.places), "the pooled input"
    if graph.spec.stands_for != "conv2d":
        return axes, "the input"
    layer = sizes_of(graph)
    for axis in graph.settings.places:
        if axis in axes:
            axes = axes.resized(axis, bind(convolved(axes[axis]), layer))
    out = layer["out"]
    wide = out if isinstance(out, Expr) else bind(Expr("name", "out"), layer)
    return (axes.resized("c", wide) if "c" in axes else axes), "the convolution"


def _differences(graph: Graph, node: GraphNode, axes: Axes) -> list[Diagnostic]:
    where = graph.where(node)
    wanted, whose = _wanted(graph)
    if set(axes) != set(wanted):
        way_out = (
            "what is inserted into a backbone must return the axes of its input, for example "
            "by a reweight of 'input' as the last node"
        )
        if graph.spec.stands_for == "pool":
            way_out = "a global pool returns one value per channel"
        elif graph.spec.stands_for == "conv2d":
            whose = "the input"
        message = f"the output {node.name!r} is {axes}, but {whose} is {wanted}"
        return [Diagnostic("output-differs", message, way_out, where)]
    problems = []
    for axis in axes:
        have, want = axes[axis], wanted[axis]
        witness = difference(have, want) or _at_a_layer(have, want)
        if witness is None:
            continue
        given = ", ".join(f"{name} = {size}" for name, size in witness.items())
        sizes = f"{bind(have, witness)} and {bind(want, witness)}"
        rule = "what is inserted must keep the sizes of its input"
        if graph.spec.stands_for == "conv2d":
            rule = "a stand-in for a convolution must return a map of the same size"
        problems.append(
            Diagnostic(
                "output-differs",
                f"axis {axis!r} of the output {node.name!r} is {have}, but {want} in {whose}",
                (f"with {given} they are {sizes}; " if given else "") + rule,
                where,
            )
        )
    return problems


#: Convolutions at which two sizes may differ.
_LAYERS = (
    GENERAL,
    {"c": 12, "out": 8, "h": 16, "w": 21, "kernel": 5, "stride": 3, "padding": 2, "dilation": 2,
     "groups": 2},
)  # fmt: skip


def _at_a_layer(have: Expr, want: Expr) -> dict[str, int] | None:
    """Return a convolution at which the two sizes differ."""
    names = have.names | want.names
    for layer in _LAYERS:
        one, other = evaluate(have, layer), evaluate(want, layer)
        if one is not None and other is not None and one != other:
            return {name: size for name, size in layer.items() if name in names}
    return None


def _unread(graph: Graph) -> list[Diagnostic]:
    """Return a warning for each node that is not read under any params."""
    if any(p.severity == "error" for p in graph.problems):
        return []
    read = {graph.output}
    if graph.spec.output is not None:
        read |= graph.spec.output.names
    above = INPUT
    for names, op in graph.spec.nodes.items():
        read |= {n for _, kind, e in op.every_expression() if kind.names_nodes for n in e.names}
        if op.reads_above:
            read.add(above)
        above = names
    return [
        Diagnostic(
            "unused-node",
            f"nothing reads the node {name!r}",
            "remove it, or read it where it belongs",
            graph.source.at_key(("nodes", names)),
            severity="warning",
        )
        for names in graph.spec.nodes
        for name in names.split(COMMA)
        if name not in read and not graph.source.is_inherited(("nodes", names))
    ]
