"""The functions of one element, by the name a spec gives them."""

from __future__ import annotations

from typing import Annotated, Any

from composer.primitives.base import Emitter
from composer.spec.expressions import Expr
from composer.spec.fields import word

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


def activate(emit: Emitter, function: str, x: Any) -> Any:
    """Write `function` of x; ``none`` writes nothing."""
    if function == "none":
        return x
    import torch
    from torch.nn import functional

    called = FUNCTIONS[function]
    home = torch if called in ("relu", "sigmoid", "tanh") else functional
    return emit.function(getattr(home, called), x)
