"""Lifts a layer that a module runs on two values as one layer on both, stacked on a new axis.

    f(a), f(b)            -> fs = f([a, b]), fs[0], fs[1]
    g(fs[0]), g(fs[1])    -> g(fs)[0], g(fs)[1]
    fs[0] + fs[1]         -> the sum of fs over the new axis

Two layers with the same weights would be two copies of these in a spec, which then diverge in
training.
"""

from __future__ import annotations

from typing import Any

from composer.lifting.draft import Node
from composer.lifting.rewriting import Nodes, used

_OF_ELEMENTS = ("apply", "gate", "scale")


def stacked(nodes: Nodes, output: str) -> tuple[Nodes, str]:
    """Return the nodes, rewritten so that each weight belongs to one node."""
    while True:
        found = _one_more(nodes)
        if found is None:
            break
        nodes = used(found, output)
    while (summed := _summed(nodes, output)) is not None:
        nodes, output = summed
    return used(nodes, output), output


def _one_more(nodes: Nodes) -> Nodes | None:
    """Return the nodes with the next group of equal layers merged, or None."""
    picks = {node.name: node for node in nodes if node.op == "pick" and node.fields.get("of_all")}
    for place, first in enumerate(nodes):
        key = _key(first)
        if key is None:
            continue
        same = [node for node in nodes[place:] if _key(node) == key]
        sources = [picks.get(str(node.fields["x"])) for node in same]
        of_one = {str(source.fields["x"]) for source in sources if source is not None}
        pushed = None not in sources and len(of_one) == 1
        if len(same) < 2 or not (first.weights or pushed):
            continue
        if len({frozenset(node.axes) for node in same}) > 1:
            continue
        return _together(nodes, same, of_one.pop() if pushed else None)
    return None


def _key(node: Node) -> Any:
    """Return the key that two nodes share if they do the same to different values."""
    if not (node.weights and "x" in node.fields) and node.op not in _OF_ELEMENTS:
        return None
    rest = {key: one for key, one in node.fields.items() if key != "x"}
    return repr((node.op, rest, sorted(node.weights.items())))


def _together(nodes: Nodes, same: Nodes, source: str | None) -> Nodes:
    """Replace several nodes that do the same by one, at the position of the last of them."""
    names = {node.name for node in nodes}
    first, last = same[0], same[-1]
    axis = "both"
    made: Nodes = []
    if source is None:
        name = _free(f"{first.name}_in", names)
        of = [str(node.fields["x"]) for node in same]
        made.append(Node(name, "stack", {"of": of, "axis": axis}, {}, (*first.axes, axis)))
        source = name
    whole = Node(_free(f"{first.name}_of_both", names), first.op, {**first.fields, "x": source},
                 dict(first.weights), (*first.axes, axis))  # fmt: skip
    made.append(whole)
    for number, node in enumerate(same):
        fields = {"x": whole.name, "axis": axis, "index": number, "of_all": len(same)}
        made.append(Node(node.name, "pick", fields, {}, node.axes))
    rest: Nodes = []
    late = _dependants(nodes, {node.name for node in same})
    moved = [node for node in nodes if node not in same and node.name in late]
    for node in nodes:
        if node is last:
            rest += made
            rest += [one for one in moved if nodes.index(one) < nodes.index(last)]
        elif node not in same and (node not in moved or nodes.index(node) > nodes.index(last)):
            rest.append(node)
    return rest


def _dependants(nodes: Nodes, names: set[str]) -> set[str]:
    found = set(names)
    for node in nodes:
        if found & {*node.reads()}:
            found |= {node.name, *node.names}
    return found


def _free(wish: str, taken: set[str]) -> str:
    name, number = wish, 2
    while name in taken:
        name, number = f"{wish}_{number}", number + 1
    taken.add(name)
    return name


def _summed(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Turn a sum of all slices of a stack into a pool over its axis."""
    picks = {node.name: node for node in nodes if node.op == "pick" and node.fields.get("of_all")}
    for node in nodes:
        of = node.fields.get("of", ())
        if node.op != "add" or not of or any(one not in picks for one in of):
            continue
        slices = [picks[one] for one in of]
        whole = {str(one.fields["x"]) for one in slices}
        if len(whole) == 1 and {one.fields["index"] for one in slices} == {
            *range(slices[0].fields["of_all"])
        }:
            fields = {"x": whole.pop(), "over": slices[0].fields["axis"], "reduce": "sum"}
            node.op, node.fields = "pool", fields
            return nodes, output
    for node in nodes:
        node.fields.pop("of_all", None)
    return None
