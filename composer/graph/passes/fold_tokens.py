"""Tokens from a map: f over [b, n, c] becomes split(f(merge(x))), with n the h·w places of x."""

from __future__ import annotations

from dataclasses import replace

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.sizes import folded_axis
from composer.language.expressions import constant
from composer.primitives.merge import Merge
from composer.primitives.split import Split


def fold_tokens(graph: Graph) -> Graph:
    """Return the graph with a map's axes merged into the spec's token axis, and split at the end.

    Nothing changes if the input has the axes that the spec names.
    """
    folded = folded_axis(graph)
    if folded is None:
        return graph
    axis, parts = folded
    merged, apart = map(graph.free_name, ("tokens", "map"))
    path = ("input",)
    tokens = Merge(op="merge", x=constant(INPUT), axes=parts, into=axis)
    sizes = {part: graph.input_axes[part] for part in parts}
    split = Split(op="split", x=constant(graph.output), axis=axis, into=sizes)
    nodes = (
        GraphNode(merged, tokens, path, written=tokens),
        *(
            replace(node, op=node.op.redirected({INPUT: merged})) if node.op else node
            for node in graph.nodes
        ),
        GraphNode(apart, split, path, written=split),
    )
    return replace(graph, nodes=nodes, output=apart)
