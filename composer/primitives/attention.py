"""`attention`: each query sums the values of all keys, weighted by its similarity to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, AxisNames, Flag, NodeRef, Number, word
from composer.language.source import YamlPath
from composer.primitives.around import partly
from composer.primitives.attended import attended
from composer.primitives.attention_axes import Parts, parts_of
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, flag, whole
from composer.primitives.cost import Cost, of_einsum


class Attention(Primitive):
    """softmax(q k / √d) v, where the axes `over` are the queries and `along` has d features.

    Keys and values have the same axes `over`, or other axes, named in `keys`. All remaining
    axes ride along, whichever of the values has them. With ``position: relative`` the logits gain
    q (r_h + r_w), where r_h and r_w are learned for each distance down and across
    (arXiv:2101.11605, figure 4).
    """

    example: ClassVar[str] = """
        qkv: {op: linear, over: c, out: {part: 3, head: 4, d: c / 4}}
        q, k, v: {op: unstack, axis: part}
        out: {op: attention, q: q, k: k, v: v, over: [h, w], along: d}
    """
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "gate"
    computed: ClassVar[tuple[str, ...]] = ("scale",)

    op: Literal["attention"]
    q: NodeRef = Field(description="the queries")
    k: NodeRef = Field(description="the keys")
    v: NodeRef = Field(description="the values")
    over: AxisNames = Field(min_length=1, description="the axes of the queries: n, or [h, w]")
    along: AxisName = Field(description="the axis of the features")
    keys: AxisNames = Field(
        default=(),
        description="the axes of the keys, if they differ from those of the queries; or their "
        "names in a bias or mask: bias [n, m] for over n and keys m",
    )
    bias: NodeRef | None = Field(
        default=None, description="added to the logits before the softmax; none by default"
    )
    mask: NodeRef | None = Field(
        default=None,
        description="0 where a query may not attend to a key, so its weight is 0; a query with no "
        "key at all returns 0; none is masked by default",
    )
    scale: Number | None = Field(default=None, description="the factor on q k; 1/√d by default")
    position: Annotated[Expr, word("none", "relative")] = Field(
        default=constant("none"),
        description="the positional term of the logits",
    )
    scale_position: Flag = Field(
        default=constant(True), description="whether the positional term is also scaled"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the other axes, those of the queries, and the features of the values."""
        parts = self.parts(axes, order)
        if self._is_relative:
            if len(self.over) != 2:
                raise AxisProblem(
                    "invalid-value",
                    f"a relative position needs two axes, and 'over' names {len(self.over)}",
                    ("over",),
                    "name two axes, such as [h, w], or omit the position",
                )
            if parts.in_keys != self.over:
                raise AxisProblem(
                    "invalid-value",
                    "a relative position needs keys with the axes of the queries, and "
                    f"{str(self.k)!r} is {axes(self.k)}",
                    ("position",),
                    "omit the position, and add one as a bias",
                )
        sizes = {axis: parts.sizes[axis] for axis in (*parts.riding, *self.over)}
        values = axes(self.v)
        return Axes(()).extended(sizes | {axis: values[axis] for axis in parts.features}, order)

    @property
    def _is_relative(self) -> bool:
        return str(self.position) == "relative"

    def parts(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Parts:
        """Return the roles of the axes; `order` is that of the output's axes."""
        return parts_of(
            self.q, self.k, self.v, {"bias": self.bias, "mask": self.mask}, axes, order,
            over=self.over, keys=self.keys, along=self.along,
        )  # fmt: skip

    def flat(self) -> tuple[YamlPath, str] | None:
        """Return the field `position` if it is relative, which needs height and width."""
        if self._is_relative and len(self.over) != 2:
            return ("position",), "uses positions along height and width"
        return None

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it uses positions, or only some of the spatial axes."""
        tokens = {*self.over, *(self.keys or ())}
        if partly(tokens, places) or self.along in places:
            return True
        return not tokens.isdisjoint(places) and str(self.position.value) != "none"

    def lower(self, emit: Emitter) -> Any:
        """Emit one call of torch's attention."""
        parts = self.parts(emit.axes, AxisOrder(emit.axes(emit.here).names))
        scale: Any = None
        if self.scale is not None:
            known = self.scale.is_constant
            scale = float(self.scale.value) if known else emit.number(self.scale)
        position = self._position if self._is_relative else None
        return attended(emit, parts, scale, position)

    def _position(self, emit: Emitter, q: Any, scale: Any) -> Any:
        """Emit q (r_h + r_w) for queries of [batch, heads, height, width, features]."""
        import torch

        axes = emit.axes(self.q)
        width = whole(axes[self.along])
        if flag(self.scale_position):
            q = emit.method("mul", q, width**-0.5 if scale is None else scale)
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
        """Emit the learned embedding of each distance, as [query, features, key].

        A distance has the index key - query + size - 1 in the table, so each query's keys are
        consecutive: a window of the table, the first one for the last query.
        """
        import torch

        table = emit.parameter(torch.randn(2 * size - 1, width) * width**-0.5, local)
        return emit.method("flip", emit.method("unfold", table, 0, size, 1), 0)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the cost of the two products, and of the positional term with its tables."""
        parts = self.parts(axes, AxisOrder(own.names))
        sizes = [whole(parts.sizes[axis], ("over",)) for axis in self.over]
        riding = math.prod(whole(parts.sizes[axis]) for axis in parts.riding)
        keys = math.prod(whole(axes(self.k)[axis], ("over",)) for axis in parts.in_keys)
        features = math.prod(whole(own[axis]) for axis in parts.features)
        width, queries = whole(axes(self.q)[self.along]), riding * math.prod(sizes)
        cost = Cost(flops=queries * keys * (width + features))
        if self._is_relative:
            cost += Cost(parameters=sum(2 * size - 1 for size in sizes) * width)
            cost += of_einsum(queries * sum(sizes), width)
        return cost

    def label(self) -> str:
        """Return such as ``attention over h, w``, or ``attention of n over m``."""
        queries, keys = ", ".join(self.over), ", ".join(self.keys)
        over = f"of {queries} over {keys}" if keys else f"over {queries}"
        return f"attention {over}{', relative position' if self._is_relative else ''}"

    def formula(self) -> str:
        """Return such as ``softmax(q k / √d) v``, where r is the learned position."""
        terms = [self._scaled("q k")]
        if self._is_relative and flag(self.scale_position):
            terms = [self._scaled("q (k + r)")]
        elif self._is_relative:
            terms.append("q r")
        if self.bias is not None:
            terms.append(str(self.bias))
        where = f" where {self.mask}" if self.mask is not None else ""
        return f"softmax({' + '.join(terms)}{where}) v"

    def _scaled(self, logits: str) -> str:
        """Return such as ``q k / √d``, ``0.5 q k`` or ``(c ** -0.5) q k``."""
        if self.scale is None:
            return f"{logits} / √d"
        if not self.scale.is_constant:
            plain = self.scale.kind == "name"
            return f"{self.scale if plain else f'({self.scale})'} {logits}"
        scale = float(self.scale.value)
        return logits if scale == 1 else f"{scale:.4g} {logits}".replace("-", "−")

    def carries(self) -> tuple[Expr, ...]:
        """Return the values; queries and keys only give the weights."""
        return (self.v,)
