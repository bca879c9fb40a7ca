"""The control that holds gates constant: the mechanism is there, and no longer looks at the input.

Each `gate` node gives one number, the mean of what it gave for the first batch before any training.
The weights that lead to the gate stay in the network and get no gradient. What remains of a
mechanism is a fixed scale and, with an identity start, the learned scalar that blends it in.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from composer.primitives.gate import Gate
from composer.training.graphs import inserted_graphs


class HeldGate(nn.Module):
    """Gives a constant of its input's shape; before that, passes its input and takes the mean."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.full((), float("nan")))
        self.measures = True

    def forward(self, gate: Tensor) -> Tensor:
        """Return the constant, or the gate itself while it is measured."""
        if self.measures:
            self.value.copy_(gate.detach().mean())
            return gate
        return self.value.to(gate.dtype).expand_as(gate).contiguous()


def has_gates(model: nn.Module) -> bool:
    """Return whether something that was inserted has a `gate` node."""
    return any(_gates(graph) for _, _, graph in inserted_graphs(model))


def hold_gates(model: nn.Module, images: Tensor) -> int:
    """Hold every gate of what was inserted, in place; return how many there are.

    Args:
        model: a composed model, which is run once in evaluation mode.
        images: the batch whose mean gates are held.
    """
    held = []
    for _, site, graph in inserted_graphs(model):
        module: Any = model.get_submodule(site.module)
        for number, name in enumerate(_gates(graph)):
            nodes = [n for n in module.graph.nodes if _origin(n) == name]
            if nodes:
                held.append(_hold(module, nodes[-1], f"held_{number}"))
        module.recompile()
    with torch.no_grad():
        model.eval()(images)
    for one in held:
        one.measures = False
    return len(held)


def _hold(module: Any, gate: fx.Node, name: str) -> HeldGate:
    """Put a held gate after an fx node, for all that uses it."""
    held = HeldGate()
    module.add_submodule(name, held)
    with module.graph.inserting_after(gate):
        constant = module.graph.call_module(name, (gate,))
    gate.replace_all_uses_with(constant, delete_user_cb=lambda user: user is not constant)
    constant.meta.update(gate.meta)
    return held


def _gates(graph: Any) -> list[str]:
    return [node.name for node in graph.nodes if isinstance(node.op, Gate)]


def _origin(node: fx.Node) -> str | None:
    found: dict[str, Any] = node.meta.get("composer") or {}
    return found.get("node")
