"""`product`: two values multiplied and summed over axes, as in a matrix product."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, elements, need_axes, whole
from composer.primitives.broadcast import meet
from composer.primitives.cost import Cost, of_einsum


class Product(Primitive):
    """``Σ a · b`` over the axes `sum`, with axes matched by name.

    ``{op: product, of: [q, k], sum: d}`` of ``[b, n, d]`` and ``[b, m, d]`` is ``[b, n, m]``; an
    axis that both have and that is not summed rides along. It equals `mul` and then `pool` with
    sum, but the product of all pairs is not stored.
    """

    example: ClassVar[str] = """
        n: {op: merge, axes: [h, w], into: n}
        m: {op: rename, axes: {n: m}}
        out: {op: product, of: [n, m], sum: c}
    """
    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: Literal["product"]
    of: tuple[NodeRef, ...] = Field(min_length=1, description="the two values")
    sum: AxisNames = Field(min_length=1, description="the axes to sum over, which are removed")

    @model_validator(mode="after")
    def _of_two(self) -> Product:
        if len(self.of) != 2:
            raise ValueError(
                f"a product takes two values, not {len(self.of)}; write one node for each pair"
            )
        return self

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of both, without the summed ones."""
        left, right = self.of
        met = meet([(("of", 0), left), (("of", 1), right)], axes, order)
        need_axes(met, self.sum, ("sum",), left)
        for index, axis in enumerate(self.sum):
            alone = [ref for ref in self.of if axis in axes(ref)]
            if len(alone) == 1:
                raise AxisProblem(
                    "unknown-axis",
                    f"only {str(alone[0])!r} has the axis {axis!r}, so there is no product to sum",
                    ("sum", index),
                    f"pool it first: {{op: pool, x: {alone[0]}, over: {axis}, reduce: sum}}",
                )
        return met.without(self.sum)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it sums over only some of the spatial axes."""
        return partly(self.sum, places)

    def lower(self, emit: Emitter) -> Any:
        """Emit one einsum, which torch runs as a batched matrix product, or the sum itself."""
        import torch

        left, right = self.of
        if not matrices(emit.axes(left), emit.axes(right), self.sum):
            return self._summed(emit)
        if not _lie_well(emit.axes(left), emit.axes(right), self.sum):
            left, right = right, left
        have = (emit.axes(left).names, emit.axes(right).names, emit.axes(emit.here).names)
        letters: dict[str, str] = {}
        for axis in (*have[0], *have[1]):
            letters.setdefault(axis, string.ascii_letters[len(letters)])
        a, b, out = ("".join(letters[axis] for axis in names) for names in have)
        return emit.function(torch.einsum, f"{a},{b}->{out}", emit.node(left), emit.node(right))

    def _summed(self, emit: Emitter) -> Any:
        """Emit the elementwise product and its sum, which the compiler fuses."""
        import operator

        if str(self.of[0]) == str(self.of[1]):
            from composer.kernels.squares import squares

            have = emit.axes(self.of[0])
            over = tuple(sorted(have.index(axis) for axis in self.sum))
            return emit.function(squares, emit.node(self.of[0]), over)
        want = max((emit.axes(ref).names for ref in self.of), key=len)
        node = emit.function(operator.mul, *(emit.spread(ref, want) for ref in self.of))
        where = sorted(want.index(axis) for axis in self.sum)
        if len(where) > 1 and where == list(range(where[0], where[-1] + 1)):
            return emit.method("sum", emit.method("flatten", node, where[0], where[-1]), where[0])
        return emit.method("sum", node, where[0] if len(where) == 1 else tuple(where))

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of a matrix product; an elementwise one is not counted."""
        left, right = map(axes, self.of)
        if not matrices(left, right, self.sum):
            return Cost()
        return of_einsum(elements(own), math.prod(whole(left[axis]) for axis in self.sum))

    def label(self) -> str:
        """Return such as ``Σ over d of a product``."""
        return f"Σ over {', '.join(self.sum)} of a product"

    def formula(self) -> str:
        """Return such as ``Σ q · k``."""
        return f"Σ {' · '.join(map(str, self.of))}"


def matrices(left: Axes, right: Axes, summed: tuple[str, ...]) -> bool:
    """Return whether a product is fastest as a matrix product, not elementwise.

    It is if each value has an axis that the other lacks; if only one has, then only if the other
    axes come first in memory, since otherwise each small matrix is scattered in memory.
    """
    more, less = set(left) - set(right), set(right) - set(left)
    if more and less:
        return True
    if not more and not less:
        return False
    wide = left if more else right
    riding = [axis in left and axis in right and axis not in summed for axis in wide]
    return riding == sorted(riding, reverse=True)


def _lie_well(left: Axes, right: Axes, summed: tuple[str, ...]) -> bool:
    """Return whether `left` times `right` is faster than the reverse."""
    return not (_as_columns(left, right, summed) and not _as_columns(right, left, summed))


def _as_columns(axes: Axes, other: Axes, summed: tuple[str, ...]) -> bool:
    """Return whether the summed axes come before those that only this value has."""
    own = [axis in summed for axis in axes if axis in summed or axis not in other]
    return own == sorted(own, reverse=True) and not all(own)
