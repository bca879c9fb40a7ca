"""softmax(s · q kᵀ + m) v: what its parts become, once recognised; no op of the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, NodeRef, Number
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, elements, whole
from composer.primitives.batch import folded, unfolded
from composer.primitives.broadcast import meet
from composer.primitives.cost import Cost


class DotProductAttention(Primitive):
    """softmax(scale · Σ q k + bias, over `keys`) summed with v.

    q is ``[…, queries, along]``, k ``[…, keys, along]`` and v ``[…, keys, features]``, with the
    same axes riding along; the bias has any of those axes, `queries` and `keys`.
    """

    colour: ClassVar[str] = "gate"
    anew: ClassVar[bool] = True

    op: str = "dot_product_attention"
    q: NodeRef
    k: NodeRef
    v: NodeRef
    bias: NodeRef | None
    queries: AxisName
    keys: AxisName
    along: AxisName
    features: AxisName
    scale: Number = constant(1.0)

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes riding along, those of the queries and those of the features."""
        met = meet([((word,), ref) for word, ref in self._values()], axes, order)
        gone = {self.keys, self.along} - {self.features}
        sizes = {axis: met[axis] for axis in met if axis not in gone}
        sizes[self.features] = axes(self.v)[self.features]
        return Axes(()).extended(sizes, order)

    def _values(self) -> list[tuple[str, Expr]]:
        found = [("q", self.q), ("k", self.k), ("v", self.v), ("bias", self.bias)]
        return [(word, ref) for word, ref in found if ref is not None]

    def lower(self, emit: Emitter) -> Any:
        """Write one call of torch's attention, on [batch, heads, tokens, features]."""
        from torch.nn import functional

        riding = emit.axes(self.q).without([self.queries, self.along]).names
        first = max(len(riding) - 1, 0)
        own = {
            "q": (self.queries, self.along), "k": (self.keys, self.along),
            "v": (self.keys, self.features), "bias": (self.queries, self.keys),
        }  # fmt: skip
        q, k, v, *bias = (
            emit.arrange(emit.node(ref), emit.axes(ref).names, (*riding, *own[word]))
            for word, ref in self._values()
        )
        tokens = [folded(emit, x, first) for x in (q, k, v)]
        options = {"attn_mask": folded(emit, bias[0], first)} if bias else {}
        node = emit.function(
            functional.scaled_dot_product_attention, *tokens, **options,
            scale=float(self.scale.value),
        )  # fmt: skip
        node = unfolded(emit, node, q, first)
        order = (*riding, self.queries, self.features)
        return emit.arrange(node, order, emit.axes(emit.here).names)

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the two products."""
        q, v = axes(self.q), axes(self.v)
        queries, keys = elements(q.without([self.along])), whole(v[self.keys])
        return Cost(flops=queries * keys * (whole(q[self.along]) + whole(v[self.features])))

    def label(self) -> str:
        """Return such as ``attention of n over m``."""
        return f"attention of {self.queries} over {self.keys}"

    def formula(self) -> str:
        """Return such as ``softmax(0.125 q k + bias) v``, with the name of the bias."""
        scale = float(self.scale.value)
        logits = f"{scale:.4g} q k".replace("-", "−") if scale != 1 else "q k"
        return f"softmax({logits}{f' + {self.bias}' if self.bias else ''}) v"

    def carries(self) -> tuple[Expr, ...]:
        """Return the values; queries and keys say how much of each."""
        return (self.v,)
