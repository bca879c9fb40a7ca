"""`attention`: each token takes from all tokens, by how its query meets their keys."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, AxisNames, Flag, NodeRef, word
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import (
    AxisProblem,
    Emitter,
    Primitive,
    elements,
    flag,
    need_axes,
    whole,
)
from composer.primitives.batch import folded, sizes_of, unfolded
from composer.primitives.broadcast import meet
from composer.primitives.cost import Cost, of_einsum


class Attention(Primitive):
    """softmax(q k / √d) v, where the axes `over` are the tokens and `along` has d features.

    With ``position: relative`` the logits gain q (r_h + r_w), where r_h and r_w are learned for
    each distance down and across (arXiv:2101.11605, figure 4). All other axes ride along.
    """

    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "gate"

    op: Literal["attention"]
    q: NodeRef = Field(description="the queries")
    k: NodeRef = Field(description="the keys")
    v: NodeRef = Field(description="the values")
    over: AxisNames = Field(min_length=1, description="the axes of the tokens: n, or [h, w]")
    along: AxisName = Field(description="the axis of the features")
    position: Annotated[Expr, word("none", "relative")] = Field(
        default=constant("none"),
        description="what the logits know of where a token is; none unless told",
    )
    scale_position: Flag = Field(
        default=constant(True), description="whether the position's logits are divided by √d, too"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of the queries, with the features of the values."""
        for field, ref in (("q", self.q), ("k", self.k), ("v", self.v)):
            if set(axes(ref)) != set(axes(self.q)):
                raise AxisProblem(
                    "axes-differ",
                    f"{str(self.q)!r} is {axes(self.q)} and {str(ref)!r} is {axes(ref)}",
                    (field,),
                    "queries, keys and values have the same axes",
                )
        need_axes(axes(self.q), self.over, ("over",), self.q)
        need_axes(axes(self.q), (self.along,), ("along",), self.q)
        if self.along in self.over:
            raise AxisProblem(
                "duplicate-axis",
                f"the axis {self.along!r} is one of the tokens, so it cannot be the features",
                ("along",),
                "name the axis that the dot product sums over",
            )
        if self.position.value == "relative" and len(self.over) != 2:
            raise AxisProblem(
                "invalid-value",
                f"a relative position is down and across, and 'over' names {len(self.over)}",
                ("over",),
                "name two axes, such as [h, w], or leave the position out",
            )
        meet([(("q",), self.q), (("k",), self.k)], axes, order)
        meet(
            [(("q",), self.q), (("v",), self.v)],
            lambda ref: axes(ref).without([self.along]),
            order,
        )
        return axes(self.q).resized(self.along, axes(self.v)[self.along])

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the position, where that is relative: it is down and across."""
        if self.position.value == "relative" and len(self.over) != 2:
            return ("position",), "knows the position down and across"
        return None

    def lower(self, emit: Emitter) -> Any:
        """Write one call of torch's attention, on [batch, heads, tokens, features]."""
        from torch.nn import functional

        riding = emit.axes(self.q).without([*self.over, self.along]).names
        order = (*riding, *self.over, self.along)
        first, last = max(len(riding) - 1, 0), len(self.over) + 1
        q, k, v = (
            emit.arrange(emit.node(ref), emit.axes(ref).names, order)
            for ref in (self.q, self.k, self.v)
        )
        options = {}
        if self.position.value == "relative":
            options["attn_mask"] = self._position(emit, folded(emit, q, first))
        tokens = [_side_by_side(emit, folded(emit, x, first), last) for x in (q, k, v)]
        node = emit.function(functional.scaled_dot_product_attention, *tokens, **options)
        node = unfolded(emit, node, q, first)
        if len(self.over) > 1:
            sizes = sizes_of(emit, emit.node(self.q), emit.axes(self.q), self.over)
            node = emit.method("unflatten", node, -2, sizes)
        return emit.arrange(node, order, emit.axes(emit.here).names)

    def _position(self, emit: Emitter, q: Any) -> Any:
        """Write q (r_h + r_w) for queries of [batch, heads, height, width, features]."""
        import torch

        axes = emit.axes(self.q)
        width = whole(axes[self.along])
        if flag(self.scale_position):
            q = emit.method("mul", q, width**-0.5)
        down, across = (
            self._distances(emit, local, whole(axes[axis], ("over",)), width)
            for local, axis in zip(("height", "width"), self.over, strict=True)
        )
        rows = emit.function(torch.einsum, "...hwd,hdk->...hwk", q, down)
        columns = emit.function(torch.einsum, "...hwd,wdk->...hwk", q, across)
        rows, columns = emit.method("unsqueeze", rows, -1), emit.method("unsqueeze", columns, -2)
        logits = emit.method("flatten", emit.method("add", rows, columns), -2)
        return emit.method("flatten", logits, -3, -2)

    def _distances(self, emit: Emitter, local: str, size: int, width: int) -> Any:
        """Write what is learned for each distance, as [query, features, key].

        The place of a distance is key - query + size - 1, so that each query's keys lie side by
        side: its window of the table, and the last query has the first one.
        """
        import torch

        table = emit.parameter(torch.randn(2 * size - 1, width) * width**-0.5, local)
        return emit.method("flip", emit.method("unfold", table, 0, size, 1), 0)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the two products of attention, and those of the position with its tables."""
        q = axes(self.q)
        sizes = [whole(q[axis], ("over",)) for axis in self.over]
        width, features = whole(q[self.along]), whole(own[self.along])
        queries = elements(q.without([self.along]))
        cost = Cost(flops=queries * math.prod(sizes) * (width + features))
        if self.position.value == "relative":
            cost += Cost(parameters=sum(2 * size - 1 for size in sizes) * width)
            cost += of_einsum(queries * sum(sizes), width)
        return cost

    def label(self) -> str:
        """Return such as ``attention over h, w``."""
        position = ", relative position" if str(self.position) == "relative" else ""
        return f"attention over {', '.join(self.over)}{position}"

    def formula(self) -> str:
        """Return such as ``softmax(q k / √d) v``, where r is what is learned of the position."""
        if str(self.position) != "relative":
            return "softmax(q k / √d) v"
        scaled = flag(self.scale_position)
        return "softmax(q (k + r) / √d) v" if scaled else "softmax(q k / √d + q r) v"

    def carries(self) -> tuple[Expr, ...]:
        """Return the values; queries and keys say how much of each."""
        return (self.v,)


def _side_by_side(emit: Emitter, x: Any, last: int) -> Any:
    """Write x, whose `last` axes are the tokens' and the features, with one axis of tokens."""
    return x if last == 2 else emit.method("flatten", x, -last, -2)
