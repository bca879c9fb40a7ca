"""A weighted sum over each window: a product with windows, combined into one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive
from composer.primitives.broadcast import meet
from composer.primitives.windows import Slide


class WeighedWindows(Primitive):
    """Σ over a window of x · by, where `by` has the axes of a window; not an op of the language.

    Axes of x that `by` lacks share its weights, as the channels of a group share one kernel.
    """

    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: str = "weighed_windows"
    x: NodeRef
    by: NodeRef
    into: AxisNames
    slide: Slide

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of both, without those of a window."""
        have = axes(self.x)
        for axis, count in self.slide.counts(have).items():
            have = have.resized(axis, count)
        weights = axes(self.by).without(self.into)
        known = {id(self.x): have, id(self.by): weights}
        return meet([(("x",), self.x), (("by",), self.by)], lambda ref: known[id(ref)], order)

    def lower(self, emit: Emitter) -> Any:
        """Write one call on [riding, places]."""
        from composer.kernels.weighed_windows import weighed_windows

        own = emit.axes(emit.here).names
        places = self.slide.over
        riding = tuple(axis for axis in own if axis not in places)
        x = emit.arrange(emit.spread(self.x, own), own, (*riding, *places))
        by = emit.arrange(
            emit.node(self.by), emit.axes(self.by).names, (*riding, *self.into, *places)
        )
        numbers = self.slide.numbers()
        node = emit.function(
            weighed_windows, x, by, numbers.stride, numbers.padding, numbers.dilation
        )
        return emit.arrange(node, (*riding, *places), own)

    def label(self) -> str:
        """Return such as ``weighted windows``."""
        return "weighted windows"

    def formula(self) -> str:
        """Return such as ``Σ x[h + kh, w + kw] · kernels``."""
        pairs = zip(self.slide.over, self.into, strict=True)
        return f"Σ {self.x}[{', '.join(f'{axis} + {k}' for axis, k in pairs)}] · {self.by}"
