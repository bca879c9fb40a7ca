"""Where two mechanisms diverge: the first named value that differs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

_TOLERANCE = 1e-6


def first_difference(ours: fx.GraphModule, theirs: nn.Module, x: Tensor) -> str | None:
    """Return at which node our values start to differ from those recorded by the oracle.

    Args:
        ours: the module of a spec.
        theirs: the oracle, which stores under `seen` the values that its paper names.
        x: the input.
    """
    values = _Values(ours)
    with torch.no_grad():
        values.run(x)
        theirs(x)
    lost = []
    for name, wanted in _seen(theirs).items():
        have = values.of.get(name)
        if have is None:
            lost.append(name)
        elif have.numel() != wanted.numel():
            return f"first at '{name}', with {have.numel()} numbers instead of {wanted.numel()}"
        elif (gap := float((have - wanted.reshape(have.shape)).abs().max())) > _TOLERANCE:
            return f"first at '{name}', by {gap:.2g}{_without(lost)}"
    return f"the nodes that could be compared agree{_without(lost)}" if lost else None


def _without(lost: list[str]) -> str:
    """Return which of the values have no separate node here."""
    names = " and ".join(f"'{name}'" for name in lost)
    return f"; {names} is renamed, unused or equal to another node" if lost else ""


class _Values(fx.Interpreter):
    """Records the value of each node of the spec."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        name = n.meta.get("composer", {}).get("node")
        if name and isinstance(result, Tensor):
            self.of[name] = result.clone()  # a later op may overwrite it
        return result


def _seen(oracle: nn.Module) -> dict[str, Tensor]:
    """Return the values recorded by the parts of an oracle, each under its part's path."""
    return {
        f"{path}.{name}" if path else name: value
        for path, part in oracle.named_modules()
        for name, value in getattr(part, "seen", {}).items()
    }
