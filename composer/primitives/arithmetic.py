"""`add`, `sub`, `mul`, `div`: elementwise, with axes matched by name."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr
from composer.language.fields import Operand
from composer.language.operations import FUNCTIONS
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, refers
from composer.primitives.broadcast import meet
from composer.primitives.weighed_by import weighed_by

_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}
_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷"}


class Arithmetic(Primitive):
    """The operation between all values `of` the list, from the left: ``{op: add, of: [x, 1e-5]}``.

    An axis that only some values have is broadcast: ``[b, c]`` times ``[b, h, w]`` is
    ``[b, c, h, w]``. A number has no axes; it is not learned.
    """

    example: ClassVar[Mapping[str, str]] = {
        "add": "out: {op: add, of: [input, input]}",
        "sub": """
            mean: {op: pool, over: [h, w]}
            out: {op: sub, of: [input, mean]}
        """,
        "mul": """
            channel: {op: pool, over: [h, w]}
            spatial: {op: pool, x: input, over: c}
            out: {op: mul, of: [channel, spatial]}
        """,
        "div": "out: {op: div, of: [input, sqrt(c)]}",
    }
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True
    computed: ClassVar[tuple[str, ...]] = ("of",)

    op: Literal["add", "sub", "mul", "div"]
    of: tuple[Operand, ...] = Field(
        min_length=2,
        description="the values, from the left: nodes, and numbers such as 1e-5 or sqrt(c); a "
        "name refers to a node if there is one, else to a size or a param",
    )

    @model_validator(mode="after")
    def _two_where_order_matters(self) -> Arithmetic:
        if self.op in ("sub", "div") and len(self.of) != 2:
            raise ValueError(f"{self.op} takes two values, not {len(self.of)}")
        return self

    @property
    def numbers(self) -> tuple[Expr, ...]:
        """The operands that are not nodes, once bound."""
        return tuple(one for one in self.of if not refers(one))

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the union of the axes."""
        values = [(("of", i), ref) for i, ref in enumerate(self.of) if refers(ref)]
        if not values:
            raise AxisProblem(
                "invalid-value",
                f"{self.op} needs at least one node, and these are only numbers",
                ("of",),
                "name a node, or 'input'; compute numbers with an expression: "
                f"'{f' {_EXPRESSION[self.op]} '.join(map(str, self.of))}'",
            )
        return meet(values, axes, order)

    def lower(self, emit: Emitter) -> Any:
        """Emit the operation between the values, each unsqueezed to all axes."""
        want = emit.axes(emit.here).names
        if (weighing := self._weighing(emit)) is not None:
            value, weight = weighing
            multiply = weighed_by(emit, value)
            return emit.function(multiply, emit.spread(value, want), emit.spread(weight, want))
        arranged = [emit.spread(it, want) if refers(it) else emit.number(it) for it in self.of]
        node = arranged[0]
        for other in arranged[1:]:
            node = emit.function(_OPERATORS[self.op], node, other)
        return node

    def _weighing(self, emit: Emitter) -> tuple[Expr, Expr] | None:
        """Return a value with all axes and its weight, which has fewer; None if it is neither."""
        if self.op != "mul" or len(self.of) != 2 or self.numbers:
            return None
        value, weight = sorted(self.of, key=lambda ref: -len(emit.axes(ref).names))
        want, fewer = (set(emit.axes(ref)) for ref in (emit.here, weight))
        return (value, weight) if fewer < want == set(emit.axes(value)) else None

    def label(self) -> str:
        """Return the operation's sign, with the number if any: ``×``, ``+ 1e−05``, ``1 −``."""
        sign = _SIGNS[self.op]
        if len(self.of) > 2 or not self.numbers:
            return sign
        return f" {sign} ".join("" if refers(it) else shown(it) for it in self.of).strip()

    def formula(self) -> str:
        """Return such as ``channel × spatial`` or ``1 − gate``."""
        return f" {_SIGNS[self.op]} ".join(map(shown, self.of))


_EXPRESSION = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def raised(base: str, exponent: Expr) -> str:
    """Return a power as a formula: ``x²``, ``x^0.5``, ``x^(c / 2)``."""
    small = {"2": "²", "3": "³"}.get(shown(exponent))
    return f"{base}{small}" if small else f"{base}^{shown(exponent)}"


def shown(operand: Expr) -> str:
    """Return an operand as a formula: ``gate``, ``−0.5``, ``(2 * c)``."""
    if operand.is_constant and isinstance(operand.value, float):
        return f"{operand.value:.4g}".replace("-", "−")
    plain = operand.kind in ("constant", "name", *FUNCTIONS)
    return str(operand).replace("-", "−") if plain else f"({operand})".replace("-", "−")
