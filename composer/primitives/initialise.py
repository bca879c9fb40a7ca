"""Initialisation of weights, with one syntax for every layer: ``init: 0``, ``{normal: 0.02}``.

A weight of sizes [o, i, …] computes each of its o outputs from n = i · … inputs (fan-in), and has
the fan-out m = o · …

    conv       uniform in ±1/√n, torch's default for a layer
    kaiming    normal, with standard deviation √(2/n) (arXiv:1502.01852)
    xavier     uniform in ±√(6/(n + m)) (Glorot and Bengio, 2010)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from composer.errors import listing
from composer.language.expressions import Expr, Value, constant
from composer.language.fields import Kind, Number
from composer.language.models import Model
from composer.primitives.base import misuse

if TYPE_CHECKING:
    from torch import Tensor, nn

WORDS = ("conv", "kaiming", "xavier")

#: The counterparts of other libraries' words.
_OTHERS = {
    "zeros": "0", "zero": "0", "ones": "1", "one": "1", "he": "kaiming", "glorot": "xavier",
    "normal": "{normal: 0.02}", "trunc_normal": "{trunc_normal: 0.02}", "uniform": "{uniform: 0.1}",
}  # fmt: skip


@dataclass(frozen=True)
class _Begin(Kind):
    """A number, or the name of an initialisation."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        number: dict[str, Any] = super().__get_pydantic_json_schema__(schema, handler)
        return {"anyOf": [{"enum": list(WORDS)}, *number["anyOf"]]}

    def read(self, value: Any) -> Expr:
        """Return a YAML value as an expression."""
        if isinstance(value, str) and value in _OTHERS:
            raise misuse(f"{value!r} is not allowed here", f"write 'init: {_OTHERS[value]}'")
        return constant(value) if value in WORDS else super().read(value)

    def refusal(self, value: Value) -> tuple[str, str | None] | None:
        """Return (message, help) if `value` is neither, else None."""
        return None if value in WORDS else super().refusal(value)


Spread = Annotated[Expr, Kind("number", between=(0, 1000))]


class Init(Model):
    """An initialisation: a constant, a named scheme, or a distribution with a given spread."""

    value: Annotated[Expr, _Begin("number")] | None = Field(
        default=None, description="the initial value of every weight, or conv, kaiming or xavier"
    )
    normal: Spread | None = Field(
        default=None, description="normal, mean 0, with this standard deviation"
    )
    trunc_normal: Spread | None = Field(default=None, description="the same, truncated to ±2")
    uniform: Spread | None = Field(
        default=None, description="uniform between minus and plus this number"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Init:
        ways = [field for field in type(self).model_fields if getattr(self, field) is not None]
        if len(ways) > 1:
            both = " and ".join(map(repr, ways))
            raise misuse(f"expected one initialisation, but got {both}", "keep one of them")
        return self

    @property
    def is_on(self) -> bool:
        """Whether an initialisation is given."""
        return any(getattr(self, field) is not None for field in type(self).model_fields)

    def draw(self, tensor: Tensor, sizes: Sequence[int]) -> None:
        """Initialise a tensor as a weight with sizes[0] outputs and the other sizes as inputs."""
        from torch import no_grad

        with no_grad():
            if self.normal is not None:
                tensor.normal_(0, float(self.normal.value))
            elif self.trunc_normal is not None:
                _truncated(tensor, float(self.trunc_normal.value))
            elif self.uniform is not None:
                bound = float(self.uniform.value)
                tensor.uniform_(-bound, bound)
            elif self.value is not None:
                _begin(tensor, self.value.value, sizes)


def _truncated(tensor: Tensor, deviation: float) -> None:
    """Draw from a normal distribution truncated at ±2, by inversion: torch's loop reads values.

    It is cut at five standard deviations, which affects one number in a million.
    """
    if deviation == 0:
        tensor.zero_()
        return
    within = min(math.erf(2 / (deviation * math.sqrt(2))), 1 - 1e-6)
    tensor.uniform_(-within, within).erfinv_().mul_(deviation * math.sqrt(2)).clamp_(-2, 2)


def _begin(tensor: Tensor, value: Value, sizes: Sequence[int]) -> None:
    inputs, outputs = math.prod(sizes[1:]), math.prod([*sizes[:1], *sizes[2:]])
    if value == "kaiming":
        tensor.normal_(0, (2 / inputs) ** 0.5)
    elif value in WORDS:
        bound = inputs**-0.5 if value == "conv" else (6 / (inputs + outputs)) ** 0.5
        tensor.uniform_(-bound, bound)
    else:
        tensor.fill_(float(value))


L = TypeVar("L", bound="nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear")


def begun(layer: L, init: Init, bias_init: Expr | None) -> L:
    """Return a layer initialised as the spec says; else torch's default is kept."""
    from torch import nn

    init.draw(layer.weight, layer.weight.shape)
    if bias_init is not None and layer.bias is not None:
        nn.init.constant_(layer.bias, float(bias_init.value))
    return layer


def need_bias(bias_init: Expr | None, bias: Expr | None, norm: Expr | None = None) -> None:
    """Refuse an initial value for a bias that does not exist.

    Args:
        bias_init: the initial value, if the spec gives one.
        bias: the field of the layer; None means a bias unless a norm follows.
        norm: which norm follows.

    Raises:
        PydanticCustomError: there is none.
    """
    if bias_init is None:
        return
    if bias is not None:
        if bias.is_constant and bias.value is False:
            raise misuse("there is no bias for 'bias_init'", "omit one of the two")
    elif norm is not None and str(norm.value) != "none" and norm.kind in ("name", "constant"):
        raise misuse(
            "a layer followed by a norm has no bias by default, so 'bias_init' has no effect",
            "omit 'bias_init', or write 'bias: true'",
        )


def _written(value: Any) -> Any:
    if value == {}:
        raise misuse("this is not an initialisation", f"write {_ways()}")
    return {"value": value} if not isinstance(value, (dict, Init)) else value


def _ways() -> str:
    drawn = (f"{{{field}: 0.02}}" for field in Init.model_fields if field != "value")
    return listing(["a number", *WORDS, *drawn], last="or")


#: For an op with its own description.
InitField = Annotated[Init, BeforeValidator(_written, json_schema_input_type=Init | float | str)]
#: For one layer.
WeightInit = Annotated[
    InitField,
    Field(description="initial weights: a number, kaiming, xavier, or {normal: 0.02}; "
                      "torch's default otherwise"),
]  # fmt: skip
BiasInit = Annotated[
    Number | None,
    Field(description="the initial bias; torch's default otherwise"),
]
AS_TORCH = Init()
