"""Removes a rename by giving the axis its final name where it is created.

layer {out: {g: 2, d: c}}, softmax over g, rename {g: k, d: c}
-> layer {out: {k: 2, c: c}}, softmax over k
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.lifting.draft import Node
from composer.lifting.formulas import Size
from composer.lifting.rewriting import Nodes, absorb, single_reader

_LAYERS = ("linear", "conv2d")
_PASSED = ("gate", "apply", "scale", "dropout")
_NAMES = ("over", "sum", "axes", "along", "axis")


def without_renames(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Return the nodes with one rename fewer, or None if none can be removed."""
    by_name = {node.name: node for node in nodes}
    for rename in nodes:
        if rename.op != "rename":
            continue
        names: dict[str, str] = rename.fields["axes"]
        chain = _chain(nodes, output, by_name, rename)
        if chain is None or any(_taken(node, names) for node in chain):
            continue
        for node in chain:
            _rename(node, names)
        return absorb(nodes, output, chain[0], rename)
    return None


def _chain(
    nodes: Nodes, output: str, by_name: Mapping[str, Node], rename: Node
) -> list[Node] | None:
    """Return the nodes back to the one that creates the renamed axes, the last first."""
    found: list[Node] = []
    node = by_name.get(str(rename.fields["x"]))
    renamed = {*rename.fields["axes"]}
    while node is not None and single_reader(nodes, node, output) is not None:
        found.append(node)
        made = node.fields.get("out", node.fields.get("into", node.fields.get("axes")))
        if isinstance(made, dict) and node.op in (*_LAYERS, "split", "parameter"):
            return found if renamed <= {*made} else None
        mixed = node.fields.get("over" if node.op == "linear" else "channels", "c")
        if node.op in _LAYERS and "weight" not in node.fields and renamed == {mixed}:
            return found
        if node.op not in _PASSED:
            return None
        node = by_name.get(str(node.fields["x"]))
    return None


def _taken(node: Node, names: Mapping[str, str]) -> bool:
    """Return whether a new name is already that of another axis of a node."""
    return bool({*names.values()} & {axis for axis in node.axes if axis not in names})


def _rename(node: Node, names: Mapping[str, str]) -> None:
    def new(value: Any) -> Any:
        if isinstance(value, list):
            return [names.get(one, one) for one in value]
        return names.get(value, value) if isinstance(value, str) else value

    node.axes = tuple(names.get(axis, axis) for axis in node.axes)
    if node.op in _LAYERS and not isinstance(node.fields.get("out"), dict):
        ((old, new_name),) = names.items()
        node.fields["out"] = {new_name: Size(tuple(node.sizes[old]))}
        return
    for field in ("out", "into", "axes"):
        if isinstance(node.fields.get(field), dict):
            node.fields[field] = {new(a): size for a, size in node.fields[field].items()}
    if node.op in _PASSED:
        for field in _NAMES:
            if field in node.fields:
                node.fields[field] = new(node.fields[field])
