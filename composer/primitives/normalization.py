"""The norm that follows a layer: batch norm over its channels, with the paper's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from composer.language import expressions
from composer.language.expressions import Expr
from composer.language.fields import Epsilon, Number, Share, word
from composer.language.models import Model
from composer.primitives.cost import Cost, of_norm

if TYPE_CHECKING:
    from torch import nn


class Norm(Model):
    """A norm over the channels, written as a word (``batch``) or with its settings."""

    fn: Annotated[Expr, word("none", "batch")] = Field(
        default=expressions.constant("batch"), description="which norm"
    )
    momentum: Share = Field(
        default=expressions.constant(0.1), description="weight of the newest batch's statistics"
    )
    eps: Epsilon = Field(default=expressions.constant(1e-5), description="added to the variance")
    scale: Number = Field(default=expressions.constant(1), description="what its weight begins at")

    @property
    def is_on(self) -> bool:
        """Whether there is a norm, once bound."""
        return bool(self.fn.value != "none")

    def cost(self, channels: int, elements: int) -> Cost:
        """Return the cost of the norm of a value with so many channels and elements, if any."""
        return of_norm(channels, elements) if self.is_on else Cost()

    def formula(self, of: str) -> str:
        """Return the norm of `of` as maths."""
        return f"BN({of})" if self.is_on else of

    def build(self, channels: int, spatial_axes: int) -> nn.Module:
        """Return the module for values of [batch, channels, …] with so many axes behind."""
        from torch import nn

        kind = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
        module = kind[spatial_axes](
            channels, eps=float(self.eps.value), momentum=float(self.momentum.value)
        )
        nn.init.constant_(module.weight, float(self.scale.value))
        return module


def _written(value: Any) -> Any:
    return {"fn": value} if not isinstance(value, (dict, Norm)) else value


NormField = Annotated[
    Norm, BeforeValidator(_written, json_schema_input_type=Norm | str)
]
NO_NORM = Norm(fn=expressions.constant("none"))
