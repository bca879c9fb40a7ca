"""Simplifies a draft by rewrites that do not change the result.

layer, norm, act                         -> layer {norm, act}
layer, split of its axis                 -> layer {out: {…}}
norm, act                                -> norm {act}
x · gate                                 -> reweight
one layer of two values                  -> the layer of both, stacked
product, scale, softmax, product         -> attention
"""

from __future__ import annotations

from typing import Any

from composer.lifting.as_attention import as_attention
from composer.lifting.draft import Node
from composer.lifting.renamed import without_renames
from composer.lifting.rewriting import Nodes, absorb, single_reader, until_done, used
from composer.lifting.shared import stacked

_ACTS = frozenset({
    "relu", "relu6", "gelu", "silu", "sigmoid", "hard_sigmoid", "hard_swish", "tanh", "softplus",
    "elu", "leaky_relu", "selu", "mish",
})  # fmt: skip
_LAYERS = ("linear", "conv2d")


def fused(nodes: Nodes, output: str) -> tuple[Nodes, str]:
    """Return the nodes after every rewrite, and the node of the output."""
    nodes = used(nodes, output)
    for step in (
        _split_into_layer, _norm_of_one, _norm_into_layer, _act_into_layer, _split_into_layer,
        _parameter_renamed,
    ):  # fmt: skip
        nodes, output = until_done(step, nodes, output)
    nodes, output = stacked(nodes, output)
    for step in (as_attention, without_renames, _reweighted, _summed):
        nodes, output = until_done(step, nodes, output)
    nodes = used(nodes, output)
    return nodes, _called_out(nodes, output)


def _split_into_layer(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    for layer in nodes:
        axis = _mixed(layer)
        after = single_reader(nodes, layer, output) if axis else None
        if after is None or after.op != "split" or after.fields["axis"] != axis:
            continue
        if isinstance(layer.fields.get("out"), dict):
            continue
        layer.fields["out"] = dict(after.fields["into"])
        return absorb(nodes, output, layer, after)
    return None


def _mixed(layer: Node) -> str | None:
    """Return the axis that a layer mixes, if its value has it under the same name."""
    if layer.op == "linear":
        return str(layer.fields["over"])
    if layer.op == "conv2d" and "weight" not in layer.fields:
        return str(layer.fields.get("channels", "c"))
    return None


def _norm_into_layer(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    for layer in nodes:
        axis = _mixed(layer)
        after = single_reader(nodes, layer, output) if axis else None
        if after is None or after.op != "norm" or "norm" in layer.fields or "act" in layer.fields:
            continue
        if isinstance(layer.fields.get("out"), dict) or not _suits(layer, after, str(axis)):
            continue
        layer.fields["norm"] = _settings(after)
        has_bias = layer.fields.pop("bias", None) is None
        if has_bias:
            layer.fields["bias"] = True
        return absorb(nodes, output, layer, after)
    return None


def _norm_of_one(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Attach its batch norm to a layer with one channel, for which an axis was added."""
    for layer in nodes:
        if _mixed(layer) is None or layer.fields.get("out") != {} or "norm" in layer.fields:
            continue
        chain = [layer]
        for op in ("stack", "norm", "pick"):
            after = single_reader(nodes, chain[-1], output)
            if after is None or after.op != op or len(after.fields.get("of", "1")) > 1:
                break
            chain.append(after)
        if len(chain) < 4 or chain[2].fields.get("fn") is not None:
            continue
        _, stack, norm, pick = chain
        if norm.fields["over"] != stack.fields["axis"]:
            continue
        nodes = [node for node in nodes if node is not stack]
        norm.fields["x"], norm.fields["over"] = layer.name, _mixed(layer)
        axes = pick.axes
        nodes, output = absorb(nodes, output, norm, pick)
        layer.fields["norm"], bias = _settings(norm), layer.fields.pop("bias", None)
        if bias is None:
            layer.fields["bias"] = True
        found = absorb(nodes, output, layer, norm)
        layer.axes = axes
        return found
    return None


def _settings(after: Node) -> Any:
    """Return a norm as a field of a layer."""
    fields = dict(after.fields)
    found = {"fn": fields.pop("fn", "batch")}
    fields.pop("x"), fields.pop("over")
    if fields.pop("affine", None) is not None:
        found["affine"] = found["fn"] in ("instance", "l2")
    found.update({key: one for key, one in fields.items() if one is not None})
    return found["fn"] if len(found) == 1 else found


def _suits(layer: Node, norm: Node, axis: str) -> bool:
    """Return whether a norm is over the same axes as the norm field of a layer."""
    over = norm.fields["over"]
    over = [over] if isinstance(over, str) else list(over)
    fn = norm.fields.get("fn", "batch")
    places = layer.fields.get("over", ["h", "w"]) if layer.op == "conv2d" else []
    if fn == "batch":
        return over == [axis]
    if fn in ("layer", "rms", "l2"):
        return over == [axis]
    if layer.op != "conv2d":
        return False
    return sorted(over) == sorted([axis, *places] if fn == "group" else places)


def _act_into_layer(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    for layer in nodes:
        if layer.op not in (*_LAYERS, "norm") or "act" in layer.fields or "weight" in layer.fields:
            continue
        after = single_reader(nodes, layer, output)
        if after is None or after.op != "apply" or after.fields["fn"] not in _ACTS:
            continue
        if len(after.fields) > 2:  # it has a slope
            continue
        layer.fields["act"] = after.fields["fn"]
        return absorb(nodes, output, layer, after)
    return None


def _parameter_renamed(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Rename a parameter's axes as its only reader needs them."""
    for node in nodes:
        after = single_reader(nodes, node, output)
        if node.op != "parameter" or after is None or after.op != "rename":
            continue
        names: dict[str, Any] = after.fields["axes"]
        node.fields["axes"] = {names.get(a, a): n for a, n in node.fields["axes"].items()}
        return absorb(nodes, output, node, after)
    return None


_GATES = ("gate",)


def _reweighted(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Turn a product with attention values into a reweight."""
    by_name = {name: node for node in nodes for name in node.names}
    for node in nodes:
        of = node.fields.get("of", ())
        if node.op != "mul" or len(of) != 2 or not all(isinstance(one, str) for one in of):
            continue
        for x, by in (of, of[::-1]):
            gate = by_name.get(by)
            if gate is None or gate.op not in _GATES:
                continue
            own = by_name[x].axes if x in by_name else node.axes
            if not {*gate.axes} <= {*own} or {*own} != {*node.axes}:
                continue
            node.op, node.fields = "reweight", {"x": x, "by": by}
            return nodes, output
    return None


def _summed(nodes: Nodes, output: str) -> tuple[Nodes, str] | None:
    """Merge a sum into the reweight before it."""
    for node in nodes:
        after = single_reader(nodes, node, output) if node.op == "reweight" else None
        if after is None or after.op != "pool" or after.fields.get("reduce") != "sum":
            continue
        if "sum" in node.fields or {*after.fields} > {"x", "over", "reduce"}:
            continue
        node.fields["sum"] = after.fields["over"]
        return absorb(nodes, output, node, after)
    return None


def _called_out(nodes: Nodes, output: str) -> str:
    """Name the last node ``out``, unless it is a layer, whose name is in the weights' keys."""
    last = next((node for node in nodes if node.name == output), None)
    if last is None or last.weights or any("out" in node.names for node in nodes):
        return output
    last.name = "out"
    return "out"
