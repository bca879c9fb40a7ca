"""Recognises two products with a softmax between them as one attention node."""

from __future__ import annotations

from typing import Any

from composer.lifting.draft import Node
from composer.lifting.rewriting import Nodes, readers, used


def as_attention(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Return the nodes with one more attention recognised, or None if there is none.

    softmax over m of (s Σ_d q k) · v, summed over m     -> attention
    """
    by_name = {name: node for node in nodes for name in node.names}

    def alone(name: Any) -> Node | None:
        node = by_name.get(str(name))
        return node if node and len(readers(nodes, str(name))) == 1 and name != output else None

    for last in nodes:
        if last.op != "product":
            continue
        for weights, values in (last.fields["of"], last.fields["of"][::-1]):
            softmax = alone(weights)
            if softmax is None or softmax.op != "gate" or softmax.fields["fn"] != "softmax":
                continue
            keys = _listed(last.fields["sum"])
            if _listed(softmax.fields["over"]) != keys:
                continue
            scale, logits = 1.0, alone(softmax.fields["x"])
            if logits is not None and logits.op == "scale":
                scale, logits = logits.fields["by"], alone(logits.fields["x"])
            if logits is None or logits.op != "product" or len(_listed(logits.fields["sum"])) > 1:
                continue
            found = _parts(by_name, logits, keys, values)
            if found is None:
                continue
            fields = {**found, "scale": 1 if scale == 1.0 else scale}
            last.op, last.fields = "attention", fields
            return used(nodes, output), output
    return None


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _axes(by_name: dict[str, Node], name: str) -> set[str] | None:
    return {*by_name[name].axes} if name in by_name else None


def _parts(
    by_name: dict[str, Node], logits: Node, keys: list[str], values: str
) -> dict[str, Any] | None:
    """Return the roles; keys that are the renamed axes of the queries keep their old names."""
    (along,) = _listed(logits.fields["sum"])
    for q, k in (logits.fields["of"], logits.fields["of"][::-1]):
        of_q, of_k, of_v = (_axes(by_name, name) for name in (q, k, values))
        if of_q is None or of_k is None or of_v is None:
            continue
        if not {*keys} <= of_k or {*keys} & of_q or not {*keys} <= of_v:
            continue
        queries = [axis for axis in by_name[q].axes if axis not in of_k]
        if not queries or {*queries} & of_v:
            continue
        key_node, value_node = by_name[k], by_name[values]
        if len(queries) != len(keys):
            return {"q": q, "k": k, "v": values, "over": queries, "along": along, "keys": keys}
        own = [_before(node, keys) for node in (key_node, value_node)]
        if own[0] is not None and own[0] == own[1] and {*own[0]} == {*queries}:
            return {"q": q, "k": key_node.fields["x"], "v": value_node.fields["x"],
                    "over": queries, "along": along}  # fmt: skip
        return {"q": q, "k": k, "v": values, "over": queries, "along": along, "keys": keys}
    return None


def _before(node: Node, keys: list[str]) -> list[str] | None:
    """Return the names of the keys' axes before a rename that affects only them."""
    if node.op != "rename" or {*node.fields["axes"].values()} != {*keys}:
        return None
    old = {new: one for one, new in node.fields["axes"].items()}
    return [old[axis] for axis in keys]
