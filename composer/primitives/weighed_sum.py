"""A weighted sum of several values: several reweights combined; not an op of the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from composer.language.expressions import Expr
from composer.language.fields import NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive
from composer.primitives.broadcast import meet


class WeighedSum(Primitive):
    """Σᵢ ofᵢ · byᵢ, where all `of` have the same axes, and each `by` some of them."""

    colour: ClassVar[str] = "reweight"
    anew: ClassVar[bool] = True

    op: str = "weighed_sum"
    of: tuple[NodeRef, ...]
    by: tuple[NodeRef, ...]

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of the values."""
        operands = [(("of", i), ref) for i, ref in enumerate(self.of)]
        return meet([*operands, *((("by", i), ref) for i, ref in enumerate(self.by))], axes, order)

    def lower(self, emit: Emitter) -> Any:
        """Write one call."""
        from composer.kernels.weighed_sum import weighed_sum

        want = emit.axes(emit.here).names
        values = [emit.spread(ref, want) for ref in self.of]
        return emit.function(weighed_sum, values, [emit.spread(ref, want) for ref in self.by])

    def label(self) -> str:
        """Return such as ``2 values, weighted and summed``."""
        return f"{len(self.of)} values, weighted and summed"

    def formula(self) -> str:
        """Return such as ``a · v + b · w``; of many terms only the first and the last."""
        parts = [f"{x} · {by}" for x, by in zip(self.of, self.by, strict=True)]
        return " + ".join(parts if len(parts) < 4 else [parts[0], "…", parts[-1]])

    def carries(self) -> tuple[Expr, ...]:
        """Return the weighted values."""
        return self.of
