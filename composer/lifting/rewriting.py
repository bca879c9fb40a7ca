"""Shared tools of the rewrites: the readers of a node, and replacing one node by another."""

from __future__ import annotations

from collections.abc import Callable

from composer.lifting.draft import REFERS, Node

Nodes = list[Node]
#: A rewrite: the nodes and the output after it, or None if it finds nothing.
Step = Callable[[Nodes, str], tuple[Nodes, str] | None]


def until_done(step: Step, nodes: Nodes, output: str) -> tuple[Nodes, str]:
    """Repeat a rewrite until it finds nothing."""
    while (found := step(nodes, output)) is not None:
        nodes, output = found
    return nodes, output


def used(nodes: Nodes, output: str) -> Nodes:
    """Return the nodes that the output depends on."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed & {*node.names}:
            needed.update(node.reads())
            kept.append(node)
    return kept[::-1]


def readers(nodes: Nodes, name: str) -> Nodes:
    """Return the readers of a node, with repetitions."""
    return [node for node in nodes for read in node.reads() if read == name]


def read_from(nodes: Nodes, old: str, new: str) -> None:
    """Make all readers of one node read another."""
    for node in nodes:
        for key in REFERS:
            if node.fields.get(key) == old:
                node.fields[key] = new
        if "of" in node.fields:
            node.fields["of"] = [new if one == old else one for one in node.fields["of"]]


def single_reader(nodes: Nodes, node: Node, output: str) -> Node | None:
    """Return the only reader of a node, unless the node is the output."""
    found = readers(nodes, node.name)
    return found[0] if len(found) == 1 and node.name != output else None


def absorb(nodes: Nodes, output: str, layer: Node, other: Node) -> tuple[Nodes, str]:
    """Remove a node that was merged into its layer."""
    layer.weights.update(other.weights)
    layer.axes = other.axes
    rest = [node for node in nodes if node is not other]
    read_from(rest, other.name, layer.name)
    return rest, layer.name if output == other.name else output
