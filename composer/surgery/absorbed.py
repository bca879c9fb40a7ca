"""What follows a convolution in the calling forward, where a stand-in brings its own norm or act.

In ``act(norm(conv(x)))`` a stand-in that absorbs norm and act replaces all three.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from composer.analysis.edited import is_edited
from composer.analysis.traces import Forward
from composer.analysis.weight_layers import changes_nothing
from composer.lower.frozen_norm import is_frozen_norm

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class NotAbsorbed(Exception):  # noqa: N818 - a finding, which the plan reports
    """What a stand-in absorbs can't be removed; the message says why."""


class NotThere(NotAbsorbed):
    """What a stand-in absorbs does not follow."""


@dataclass(frozen=True)
class Absorbed:
    """The norm and the activation after a convolution, as nodes of the forward that calls it.

    Where the norm contains the activation, as in timm, that has no node.
    """

    norm: fx.Node | None = None
    act: fx.Node | None = None

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """The existing nodes, in the order they run."""
        return tuple(node for node in (self.norm, self.act) if node is not None)


def absorbed_in_both(
    caller: nn.Module, forward: Forward, name: str, absorb: Collection[str]
) -> tuple[Absorbed, Absorbed]:
    """Return what follows a convolution, in training and in evaluation mode.

    Args:
        caller: the module whose forward calls it.
        forward: that forward.
        name: the path of the convolution from there.
        absorb: ``norm``, ``act`` or both.

    Raises:
        NotAbsorbed: one of them does not follow.
    """
    training = absorbed_in(caller, forward.training, name, absorb)
    evaluation = absorbed_in(caller, forward.evaluation, name, absorb)
    if [n.target for n in training.nodes] != [n.target for n in evaluation.nodes]:
        raise NotAbsorbed("what follows it differs between training and evaluation mode")
    return training, evaluation


def absorbed_in(caller: nn.Module, graph: fx.Graph, name: str, absorb: Collection[str]) -> Absorbed:
    """Return what follows a convolution in a traced forward; see `absorbed_in_both`."""
    calls = graph.find_nodes(op="call_module", target=name)
    if len(calls) != 1:
        raise NotAbsorbed("the surrounding forward does not call it directly")
    node: fx.Node = calls[0]
    norm = act = None
    if "norm" in absorb:
        norm = node = _unedited(caller, _next(caller, node))
        module = _module(caller, norm)
        if not isinstance(module, _NORMS) and not (module and is_frozen_norm(module)):
            raise NotThere("no norm follows it")
        assert module is not None
        holds = held_activation(module) is not None
        if holds and "act" not in absorb:
            raise NotAbsorbed("its norm contains an activation, which would be removed with it")
        if holds:
            return Absorbed(norm)
    if "act" in absorb:
        act = _unedited(caller, _next(caller, node))
        if not _is_activation(caller, act):
            raise NotThere(f"no activation follows {'its norm' if norm else 'it'}")
    return Absorbed(norm, act)


def held_activation(norm: nn.Module) -> nn.Module | None:
    """Return the activation inside a norm, as in timm's norms."""
    act = getattr(norm, "act", None)
    return act if isinstance(act, nn.Module) and not isinstance(act, nn.Identity) else None


def function_of(caller: nn.Module, node: fx.Node) -> Callable[[Tensor], Tensor]:
    """Return the function of a node with one input, on copies of its modules."""
    module = _module(caller, node)
    if module is not None:
        return copy.deepcopy(module)

    def call(x: Tensor) -> Tensor:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda _: x.clone())
        assert callable(node.target)
        result: Tensor = node.target(*args, **kwargs)
        return result

    return call


def _next(caller: nn.Module, node: fx.Node) -> fx.Node:
    """Return the only reader of a node, skipping what changes nothing in evaluation mode."""
    while True:
        readers = list(node.users)
        if len(readers) != 1 or readers[0].op == "output" or len(readers[0].all_input_nodes) != 1:
            return readers[0] if len(readers) == 1 else _several()
        node = readers[0]
        if not changes_nothing(caller, node):
            return node


def _unedited(caller: nn.Module, node: fx.Node) -> fx.Node:
    module = _module(caller, node)
    if module is not None and is_edited(module):
        raise NotAbsorbed("something was inserted after it")
    return node


def _several() -> fx.Node:
    raise NotAbsorbed("its output is read in several places")


def _module(caller: nn.Module, node: fx.Node) -> nn.Module | None:
    if node.op != "call_module":
        return None
    return caller.get_submodule(str(node.target))


def _is_activation(caller: nn.Module, node: fx.Node) -> bool:
    """Return whether a node without weights is elementwise and not linear."""
    if node.op not in ("call_module", "call_function"):
        return False
    module = _module(caller, node)
    weighs = module is not None and any(True for _ in module.state_dict())
    if weighs or len(node.all_input_nodes) != 1:
        return False
    function = function_of(caller, node)
    if isinstance(function, nn.Module):
        function.eval()
    with torch.device("cpu"), torch.no_grad():
        return _is_curved(lambda x: function(x.reshape(2, 4, 3, 3)).flatten())


def _is_curved(function: Callable[[Tensor], Tensor]) -> bool:
    """Return whether a function of 72 numbers is elementwise and not linear."""
    x = torch.linspace(-4, 4, 72, dtype=torch.float64)
    order = torch.randperm(72, generator=torch.Generator().manual_seed(0))
    try:
        y, turned, middle = (function(v) for v in (x, x[order], (x + x.roll(9)) / 2))
        alone = torch.allclose(turned, y[order])
        return alone and not torch.allclose(middle, (y + y.roll(9)) / 2)
    except Exception:
        return False
