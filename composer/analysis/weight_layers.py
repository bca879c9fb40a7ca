"""The number of layers of weights in a module, and the steps of a forward that change nothing."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, fx, nn

from composer.analysis.edited import before_stand_in, is_inserted
from composer.lower.frozen_norm import is_frozen_norm


def weight_layers(module: nn.Module) -> int:
    """Return the number of modules inside that hold a matrix or kernel of weights.

    A stand-in counts as the layer that it replaces.
    """
    standing = {m: b.layers for m in module.modules() if (b := before_stand_in(m)) is not None}
    inside = {part for m in standing for part in m.modules()}
    return sum(standing.values()) + sum(
        any(p is not None and p.dim() > 1 for p in m._parameters.values())
        for m in module.modules()
        if m not in inside
    )


def has_weights(module: nn.Module) -> bool:
    """Return whether a module has parameters, or the fixed ones of a frozen norm."""
    return is_frozen_norm(module) or next(module.parameters(), None) is not None


def layers_of(module: nn.Module, node: fx.Node) -> int:
    """Return the number of layers of weights inside a step of a module's forward."""
    if node.op != "call_module":
        return 0
    return weight_layers(module.get_submodule(str(node.target)))


def calls_inserted(module: nn.Module, node: fx.Node) -> bool:
    """Return whether a step of a module's forward calls what an edit inserted."""
    return node.op == "call_module" and is_inserted(module.get_submodule(str(node.target)))


def changes_nothing(module: nn.Module, node: fx.Node) -> bool:
    """Return whether a step with one input returns it in evaluation mode."""
    if calls_inserted(module, node):
        return False
    try:
        with torch.device("cpu"):
            x = torch.linspace(-2, 2, 72).reshape(2, 4, 3, 3)
            result = _run_alone(module, node, x)
            return isinstance(result, Tensor) and result.shape == x.shape and torch.equal(result, x)
    except Exception:
        return False


def _run_alone(module: nn.Module, node: fx.Node, x: Tensor) -> Any:
    """Run a step in evaluation mode on `x`; None if it has weights or no such mode."""
    if node.op == "call_module":
        child = module.get_submodule(str(node.target))
        if any(True for _ in child.parameters()) or any(True for _ in child.buffers()):
            return None
        return copy.deepcopy(child).eval()(x.clone())
    if node.op == "call_function" and callable(node.target):
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
        if "training" not in bound.arguments:
            return None
        bound.arguments["training"] = False
        args, kwargs = fx.node.map_arg((bound.args, bound.kwargs), lambda _: x.clone())
        return node.target(*args, **kwargs)
    return None
