"""A module with the call signature and the output form of the layer that it replaces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from composer.analysis.probe import Call

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def called_as(module: fx.GraphModule, before: nn.Module, call: Call, pools: bool = False) -> None:
    """Let a module be called like a layer: with further arguments, at the values they had.

    Where the layer took its input several times, as query, key and value, so does the module;
    where it returned a tuple in which only the first item is a tensor, as attention in transformers
    does, so does the module. A module that `pools` returns [b, c], or [b, c, 1, 1] where the layer
    did. Arbitrary keyword arguments of the layer are ignored, except tensors.
    """
    signature = inspect.signature(before.forward)
    taken = signature.bind(*call.args, **call.kwargs).arguments
    graph = module.graph
    x, *_ = placeholders = list(graph.find_nodes(op="placeholder"))
    last = placeholders[-1]
    checks: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
    for parameter in list(signature.parameters.values())[1:]:
        name = parameter.name
        if parameter.kind not in (*_NAMED, parameter.VAR_KEYWORD):
            continue
        with graph.inserting_after(last):
            if parameter.kind is parameter.VAR_KEYWORD:
                last = graph.placeholder(f"**{name}")
                checks.append((must_have_no_tensors, (last,)))
            elif isinstance(value := taken.get(name, parameter.default), Tensor):
                last = graph.placeholder(name, default_value=None)
                checks.append((must_be_the_input, (last, x, name)))
            else:
                last = graph.placeholder(name, default_value=value)
                checks.append((must_be, (last, value, name)))
    with graph.inserting_after(last):
        for check in reversed(checks):
            graph.call_function(*check)
    output = graph.output_node()
    if pools and call.output.dim() > 2:
        with graph.inserting_before(output):
            ones = (-1, *(1 for _ in call.output.shape[2:]))
            output.args = (graph.call_method("unflatten", (output.args[0], 1, ones)),)
    if isinstance(call.output, tuple):
        output.args = ((output.args[0], *(None for _ in call.output[1:])),)
        output.type = None
    module.recompile()


def unlike(call: Call) -> str | None:
    """Return why a module of one tensor can't be called like a layer, or None where it can."""
    x = call.args[0] if call.args else None
    given = [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, Tensor)]
    if not isinstance(x, Tensor) or x.dim() != 3:
        return "it does not take [b, n, c]"
    if any(t is not x for t in given):
        return f"it takes {len(given)} tensors, not one"
    first, *others = call.output if isinstance(call.output, tuple) else (call.output,)
    if not all(other is None or _is_empty(other) for other in others):
        return "it also returns its attention weights, which a stand-in does not have"
    if not isinstance(first, Tensor) or first.shape != x.shape:
        return "it does not return one tensor of the shape of its input"
    return None


def _is_empty(value: Any) -> bool:
    """Return whether this is what torch's fast attention returns for unneeded weights."""
    return isinstance(value, Tensor) and value.numel() == 0


def must_be(given: Any, value: Any, name: str) -> None:
    """Refuse an argument of a stand-in that differs from its value at insertion."""
    if type(given) is not type(value) or given != value:
        raise ValueError(f"this layer was composed for {name}={value!r} but got {_shown(given)}")


def must_be_the_input(given: Any, x: Tensor, name: str) -> None:
    """Refuse an argument of a stand-in that is not its input tensor."""
    if given is not x:
        raise ValueError(
            f"this layer was composed for {name}= the input itself but got {_shown(given)}"
        )


def must_have_no_tensors(given: Mapping[str, Any]) -> None:
    """Refuse a tensor, such as a mask, that a stand-in can't use."""
    for name, value in given.items():
        if isinstance(value, Tensor):
            raise ValueError(f"this layer was composed without {name}= but got a Tensor")


def _shown(given: Any) -> str:
    return f"a {type(given).__name__}" if isinstance(given, Tensor) else repr(given)
