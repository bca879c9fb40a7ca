"""Elementwise functions, by their names in a spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from composer.language.expressions import Expr
from composer.language.fields import word
from composer.primitives.base import Emitter

#: Activations by their names in `torch` and `torch.nn.functional`; hard_sigmoid = relu6(x + 3) / 6.
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
    "elu": "elu",
    "leaky_relu": "leaky_relu",
    "selu": "selu",
    "mish": "mish",
}

#: Further functions of `apply`: each is a function of `torch`, given here with its formula.
OF_NUMBERS = {
    "sqrt": "√x",
    "rsqrt": "1 / √x",
    "exp": "exp(x)",
    "log": "log(x)",
    "abs": "|x|",
    "square": "x²",
    "reciprocal": "1 / x",
    "sign": "sign(x)",
    "sin": "sin(x)",
    "cos": "cos(x)",
    "pow": "x^p",
    "clamp": "clamp(x)",
}

Act = Annotated[Expr, word("none", *FUNCTIONS)]


def applied(function: Expr, to: str) -> str:
    """Return the function applied to `to` as a formula: σ for a sigmoid, f if it is still open."""
    word = str(function)
    if word == "none":
        return to
    return f"{'σ' if word == 'sigmoid' else word if word.isidentifier() else 'f'}({to})"


#: Functions whose gradient follows from their output, so that they may run in place.
_IN_PLACE = ("relu", "sigmoid", "tanh")


def called(function: str, own: bool = False) -> Callable[..., Any]:
    """Return torch's `function`; the in-place variant, if any, if the input is `own`."""
    import torch
    from torch.nn import functional

    if function in OF_NUMBERS:
        found: Callable[..., Any] = getattr(torch, function)
        return found
    name = FUNCTIONS[function]
    if name in _IN_PLACE:
        return getattr(torch, f"{name}_" if own else name)  # type: ignore[no-any-return]
    return getattr(functional, name)  # type: ignore[no-any-return]


def activate(emit: Emitter, function: str, x: Any, own: bool = False) -> Any:
    """Emit `function` of x; ``none`` emits nothing.

    It runs in place if x is the node's `own`: the output of a layer that nothing else reads.
    """
    return x if function == "none" else emit.function(called(function, own), x)
