"""What is inserted gives back the axes it was given; what is written is used."""

from __future__ import annotations

from composer.errors import Diagnostic
from composer.graph.graph import INPUT, Graph
from composer.spec.expressions import bind, difference


def check_output(graph: Graph) -> Graph:
    """Return the graph with a wrong output, and nodes that nothing can read, noted."""
    problems = [*_unread(graph)]
    node = graph.by_name[graph.output]
    axes = node.axes
    if axes is not None and graph.spec.insert is not None:
        where = graph.where(node)
        if set(axes) != set(graph.input_axes):
            problems.append(
                Diagnostic(
                    "output-differs",
                    f"the output {node.name!r} is {axes}, and the input is {graph.input_axes}",
                    "what is inserted into a backbone gives back the axes of its input; "
                    "does a reweight of 'input' come last?",
                    where,
                )
            )
        else:
            for axis in axes:
                have, want = axes[axis], graph.input_axes[axis]
                witness = difference(have, want)
                if witness is not None:
                    given = ", ".join(f"{name} = {size}" for name, size in witness.items())
                    sizes = f"{bind(have, witness)} and {bind(want, witness)}"
                    problems.append(
                        Diagnostic(
                            "output-differs",
                            f"axis {axis!r} of the output {node.name!r} is {have}, and of "
                            f"the input {want}",
                            (f"with {given} they are {sizes}; " if given else "")
                            + "what is inserted keeps the sizes of its input",
                            where,
                        )
                    )
    return graph.with_problems(problems)


def _unread(graph: Graph) -> list[Diagnostic]:
    """Return a warning for each node that no node names, under whatever params."""
    if any(node.op is None for node in graph.nodes) or graph.errors:
        return []
    read = {graph.output}
    for name, op in graph.spec.nodes.items():
        named = {n for _, expr in op.operands() for n in expr.names}
        if any(p == ("x",) for p, _ in graph.by_name[name].op.operands()) and op.x is None:  # type: ignore[union-attr]
            named |= set(graph.by_name[name].operands)
        read |= named
    return [
        Diagnostic(
            "unused-node",
            f"nothing reads the node {node.name!r}",
            "remove it, or name it where it belongs",
            graph.source.at_key(node.path),
            severity="warning",
        )
        for node in graph.nodes
        if node.name not in read and node.name != INPUT
    ]
