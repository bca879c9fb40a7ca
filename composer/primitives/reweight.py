"""`reweight`: multiplies a value by attention values, which broadcast by axis name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, elements, need_axes, whole
from composer.primitives.batch import sizes_of
from composer.primitives.broadcast import meet
from composer.primitives.cost import Cost
from composer.primitives.weighed_by import weighed_by


class Reweight(Primitive):
    """``x * by``. With `sum`, those axes are summed afterwards.

    `by` must not have axes that x lacks, except the batch: a learned x is weighted per sample.
    """

    example: ClassVar[str] = """
        squeeze: {op: pool, over: [h, w]}
        gate: {op: gate, fn: sigmoid}
        out: {op: reweight, x: input, by: gate}
    """
    colour: ClassVar[str] = "reweight"
    anew: ClassVar[bool] = True

    op: Literal["reweight"]
    x: NodeRef = Field(description="the value to weight")
    by: NodeRef = Field(description="the attention values")
    sum: AxisNames = Field(
        default=(), description="axes to sum after weighting, such as the branches"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of x and the batch, without the summed ones."""
        met = meet([(("x",), self.x), (("by",), self.by)], axes, order)
        batch = order.input[:1]
        foreign = [a for a in axes(self.by).without(batch) if a not in axes(self.x)]
        if foreign:
            raise AxisProblem(
                "unknown-axis",
                f"{str(self.by)!r} has the axis {foreign[0]!r}, which {str(self.x)!r} lacks",
                ("by",),
                f"{str(self.x)!r} is {axes(self.x)} and {str(self.by)!r} is {axes(self.by)}; "
                "pool the axis away, or use mul for an outer product",
            )
        need_axes(met, self.sum, ("sum",), self.x)
        return met.without(self.sum)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it sums over only some of the spatial axes."""
        return partly(self.sum, places)

    def lower(self, emit: Emitter) -> Any:
        """Emit the product, and the sum if requested."""
        have = emit.axes(self.x).names
        own = [axis for axis in emit.axes(self.by) if axis not in have]
        if self._mixes(emit.axes):
            return self._mixed(emit, own[0])
        want = (*own, *have)
        x, by = emit.spread(self.x, want), emit.spread(self.by, want)
        if not self.sum:
            return emit.function(weighed_by(emit, self.x), x, by)
        from composer.kernels.weighed_total import weighed_total

        return emit.function(weighed_total, x, by, tuple(want.index(axis) for axis in self.sum))

    def _mixes(self, axes: Callable[[Expr], Axes]) -> bool:
        """Whether learned values are mixed per sample, which is a matrix product."""
        own = axes(self.by).without(axes(self.x))
        return bool(own and self.sum) and set(axes(self.by)) == {*own, *self.sum}

    def _mixed(self, emit: Emitter, batch: str) -> Any:
        """Emit a sum of learned values, weighted per sample, as one matrix product."""
        axes = emit.axes(self.x)
        summed = tuple(axis for axis in axes if axis in self.sum)
        rest = axes.without(summed).names
        x = emit.arrange(emit.node(self.x), axes.names, (*summed, *rest))
        by = emit.arrange(emit.node(self.by), emit.axes(self.by).names, (batch, *summed))
        if len(summed) > 1:
            x = emit.method("flatten", x, 0, len(summed) - 1)
            by = emit.method("flatten", by, 1)
        if len(rest) < 2:
            return emit.method("matmul", by, x)
        node = emit.method("matmul", by, emit.method("flatten", x, 1))
        others = sizes_of(emit, emit.node(self.x), axes, rest[1:])
        return emit.method("unflatten", node, 1, (-1, *others))  # so that it works after pruning

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of a matrix product; an elementwise one is not counted."""
        if not self._mixes(axes):
            return Cost()
        summed = math.prod(whole(axes(self.x)[axis]) for axis in self.sum)
        return Cost(flops=elements(own) * summed)

    def label(self) -> str:
        """Return ``reweight``, with the summed axes."""
        return f"reweight, sum over {', '.join(self.sum)}" if self.sum else "reweight"

    def formula(self) -> str:
        """Return such as ``input · gate`` or ``Σ split · select``."""
        return f"{'Σ ' if self.sum else ''}{self.x} · {self.by}"

    def carries(self) -> tuple[Expr, ...]:
        """Return the weighted value."""
        return (self.x,)
