"""`concat`: values joined along an axis that all of them have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, bind, constant
from composer.language.fields import AxisName, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes
from composer.primitives.broadcast import meet


class Concat(Primitive):
    """Joins values along `axis`, where their sizes may differ; all other sizes are equal.

    ``{op: concat, of: [a, b], axis: c}`` has the channels of a, then those of b.
    """

    example: ClassVar[str] = """
        most: {op: pool, over: [h, w], reduce: max}
        mean: {op: pool, x: input, over: [h, w]}
        out: {op: concat, of: [most, mean], axis: c}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["concat"]
    of: tuple[NodeRef, ...] = Field(min_length=1, description="the values, in order")
    axis: AxisName = Field(description="the axis along which they are joined")

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the shared axes, `axis` with the sum of its sizes."""
        first = axes(self.of[0])
        need_axes(first, (self.axis,), ("axis",), self.of[0])
        for index, ref in enumerate(self.of):
            if set(axes(ref)) != set(first):
                raise AxisProblem(
                    "axes-differ",
                    f"{str(self.of[0])!r} is {first} and {str(ref)!r} is {axes(ref)}",
                    ("of", index),
                    "concatenated values must have the same axes; to put values on a new axis, "
                    "write 'op: stack'",
                )
        meet(
            [(("of", i), ref) for i, ref in enumerate(self.of)],
            lambda ref: axes(ref).without([self.axis]),
            order,
        )
        return first.resized(self.axis, total(axes(ref)[self.axis] for ref in self.of))

    def lower(self, emit: Emitter) -> Any:
        """Emit one `torch.cat`; all values have their axes in the same memory order."""
        import torch

        where = emit.axes(emit.here).index(self.axis)
        return emit.function(torch.cat, [emit.node(ref) for ref in self.of], where)

    def label(self) -> str:
        """Return such as ``concat along c``."""
        return f"concat along {self.axis}"

    def formula(self) -> str:
        """Return such as ``[a; b]``, unlike a stack ``[a, b]``."""
        return f"[{'; '.join(map(str, self.of))}]"


def total(sizes: Iterable[Expr]) -> Expr:
    """Return the sum of some sizes."""
    found = constant(0)
    for size in sizes:
        found = bind(Expr("+", 0, (found, size)), {})
    return found
