"""The functions of one element, by the name a spec gives them."""

from __future__ import annotations

from typing import Annotated, Any

from composer.language.expressions import Expr
from composer.language.fields import word
from composer.primitives.base import Emitter

#: As `torch` and `torch.nn.functional` know them; hard_sigmoid is relu6(x + 3) / 6.
FUNCTIONS = {
    "relu": "relu",
    "relu6": "relu6",
    "gelu": "gelu",
    "silu": "silu",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish",
    "tanh": "tanh",
    "softplus": "softplus",
}

Act = Annotated[Expr, word("none", *FUNCTIONS)]


def applied(function: Expr, to: str) -> str:
    """Return the function of `to` as maths: σ for a sigmoid, f for what is still open."""
    word = str(function)
    if word == "none":
        return to
    return f"{'σ' if word == 'sigmoid' else word if word.isidentifier() else 'f'}({to})"


#: Those whose gradient is told by their value, so that they may overwrite what they are given.
_IN_PLACE = ("relu", "sigmoid", "tanh")


def activate(emit: Emitter, function: str, x: Any, own: bool = False) -> Any:
    """Write `function` of x; ``none`` writes nothing.

    It is written over x where x is the node's `own`: the output of a layer, which nothing else
    reads.
    """
    if function == "none":
        return x
    import torch
    from torch.nn import functional

    called = FUNCTIONS[function]
    if called in _IN_PLACE:
        return emit.function(getattr(torch, f"{called}_" if own else called), x)
    return emit.function(getattr(functional, called), x)
