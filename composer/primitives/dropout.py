"""`dropout`: zeroes random values in training, singly or together along some axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef, Share
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, need_axes


class Dropout(Primitive):
    """In training, each value is zero with probability p, else x / (1 - p); in evaluation, x.

    Along the axes of `share`, values are dropped together: [h, w] drops channels,
    [c, h, w] samples, which on a residual branch is stochastic depth (arXiv:1603.09382).
    """

    example: ClassVar[str] = """
        branch: {op: linear, over: c}
        drop: {op: dropout, p: 0.1, share: [c, h, w]}
        out: {op: add, of: [input, drop]}
    """
    draws_weights: ClassVar[bool] = (
        True  # no weights, but random numbers: two of them must not be merged
    )

    op: Literal["dropout"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    p: Share = Field(description="the probability of zero")
    share: AxisNames = Field(
        default=(),
        description="the axes along which values are dropped together; none by default",
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        assert self.x is not None
        need_axes(axes(self.x), self.share, ("share",), self.x)
        return axes(self.x)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it shares its random numbers along only some of the spatial axes."""
        return partly(self.share, places)

    def lower(self, emit: Emitter) -> Any:
        """Emit one module, which knows whether it is in training mode."""
        from torch import nn

        from composer.kernels.dropout import SharedDropout

        assert self.x is not None
        p = float(self.p.value)
        shared = tuple(sorted(map(emit.axes(self.x).index, self.share)))
        module = SharedDropout(p, shared) if shared else nn.Dropout(p)
        return emit.module("dropout", module, emit.node(self.x))

    def label(self) -> str:
        """Return such as ``dropout 0.1 of h, w``."""
        together = f", one draw over {', '.join(self.share)}" if self.share else ""
        return f"dropout {self.p}{together}"

    def formula(self) -> str:
        """Return such as ``m x / (1 − 0.1)``, where m is 0 or 1."""
        return f"m x / (1 − {self.p})"
