"""The initial weights of a lifted spec, if the module initialises them all to one number."""

from __future__ import annotations

from torch import Tensor, nn

from composer.lifting.draft import Node, begins

_LAYERS = ("linear", "conv2d", "conv1d")


def with_beginnings(nodes: list[Node], module: nn.Module) -> None:
    """Write the initial values of weights, biases and norms into the nodes."""
    weights = dict(module.named_parameters())
    for node in nodes:
        found = {local: weights.get(key) for local, key in node.weights.items()}
        if node.op in _LAYERS:
            for local, field in (("weight", "init"), ("bias", "bias_init")):
                number = _number(found.get(f"{_local(node)}.{local}"))
                if number is not None:
                    node.fields[field] = number
        number = _number(found.get("norm.weight"))
        if number is None or number == 1:
            continue
        if node.op == "norm":
            node.fields["scale"] = number
        elif "norm" in node.fields:
            norm = node.fields["norm"]
            norm = dict(norm) if isinstance(norm, dict) else {"fn": norm}
            node.fields["norm"] = {**norm, "scale": number}


def _local(node: Node) -> str:
    return "linear" if node.op == "linear" else "conv"


def _number(weight: Tensor | None) -> float | int | None:
    """Return the initial value of all weights, if it is one number."""
    if weight is None or not weight.numel():
        return None
    found = begins(weight.detach())
    return None if isinstance(found, dict) or weight.numel() < 2 else found
