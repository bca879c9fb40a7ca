"""`apply`: a function of each element; all axes ride along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr, leaves
from composer.language.fields import NodeRef, Number, word
from composer.primitives.activations import FUNCTIONS, OF_NUMBERS, applied, called
from composer.primitives.arithmetic import raised, shown
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive

#: The settings of the functions that have some, by torch's names.
_SETTINGS: dict[str, dict[str, str]] = {
    "leaky_relu": {"slope": "negative_slope"},
    "elu": {"alpha": "alpha"},
    "pow": {"exponent": "exponent"},
    "clamp": {"low": "min", "high": "max"},
}
_OWNER = {setting: fn for fn, settings in _SETTINGS.items() for setting in settings}


class Apply(Primitive):
    """A function of each element: ``{op: apply, fn: sqrt}``, ``{op: apply, fn: pow, exponent: 3}``.

    The activations are torch's, with torch's defaults: gelu is the exact one.
    """

    example: ClassVar[str] = """
        spread: {op: pool, over: [h, w], reduce: var}
        sum: {op: add, of: [spread, 1e-5]}
        out: {op: apply, fn: sqrt}
    """
    colour: ClassVar[str] = "gate"
    anew: ClassVar[bool] = True
    computed: ClassVar[tuple[str, ...]] = tuple(_OWNER)

    op: Literal["apply"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    fn: Annotated[Expr, word(*FUNCTIONS, *OF_NUMBERS)] = Field(description="the function")
    slope: Number | None = Field(
        default=None, description="the slope of leaky_relu below zero; 0.01 by default"
    )
    alpha: Number | None = Field(
        default=None, description="elu approaches -alpha far below zero; 1 by default"
    )
    exponent: Number | None = Field(default=None, description="required by pow")
    low: Number | None = Field(default=None, description="the lower bound of clamp")
    high: Number | None = Field(default=None, description="the upper bound of clamp")

    @model_validator(mode="after")
    def _settings_have_their_function(self) -> Apply:
        words = {str(leaf) for leaf in leaves(self.fn)}
        if not words <= {*FUNCTIONS, *OF_NUMBERS}:
            return self  # it depends on a param: checked in `infer`
        for setting in self._given:
            if _OWNER[setting] not in words:
                raise ValueError(f"{setting!r} belongs to {_OWNER[setting]}, not to {self.fn}")
        for function in sorted(words):
            if missing := self._missing(function):
                raise ValueError(missing)
        return self

    @property
    def _given(self) -> list[str]:
        return [setting for setting in _OWNER if getattr(self, setting) is not None]

    def _missing(self, function: str) -> str | None:
        """Return the message for a missing setting."""
        if function == "pow" and self.exponent is None:
            return "pow needs its 'exponent', such as 3"
        if function == "clamp" and self.low is None and self.high is None:
            return "clamp needs 'low' or 'high', or both"
        return None

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        if missing := self._missing(str(self.fn.value)):
            raise AxisProblem("missing-field", missing, ("fn",))
        low, high = self.low, self.high
        if low and high and low.is_constant and high.is_constant and low.value > high.value:  # type: ignore[operator]
            message = f"clamp has the low bound {low} above the high bound {high}"
            raise AxisProblem("invalid-value", message, ("low",), "make 'low' the smaller one")
        return axes(self.x)

    def _settings(self) -> dict[str, Expr]:
        """Return the arguments for torch, by its names."""
        names = _SETTINGS.get(str(self.fn.value), {})
        given = {theirs: getattr(self, ours) for ours, theirs in names.items()}
        return {theirs: value for theirs, value in given.items() if value is not None}

    def lower(self, emit: Emitter) -> Any:
        """Emit one call."""
        assert self.x is not None
        settings = {name: emit.number(value) for name, value in self._settings().items()}
        return emit.function(called(str(self.fn.value)), emit.node(self.x), **settings)

    def label(self) -> str:
        """Return such as ``sqrt``, or ``clamp, low 0, high 1``."""
        return ", ".join([str(self.fn), *(f"{it} {getattr(self, it)}" for it in self._given)])

    def formula(self) -> str:
        """Return such as ``√x``, ``x³`` or ``gelu(x)``."""
        if str(self.fn) == "pow" and self.exponent is not None:
            return raised("x", self.exponent)
        if str(self.fn) == "clamp":
            inner = "x" if self.low is None else f"max(x, {shown(self.low)})"
            return inner if self.high is None else f"min({inner}, {shown(self.high)})"
        return OF_NUMBERS.get(str(self.fn)) or applied(self.fn, "x")
