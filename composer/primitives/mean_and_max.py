"""Mean and maximum of one value, stacked: two pools combined; not an op of the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from composer.language.expressions import Expr, constant
from composer.language.fields import AxisName, AxisNames, NodeRef
from composer.primitives.around import partly
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive
from composer.primitives.pool import mean_of
from composer.primitives.reductions import side_by_side


class MeanAndMax(Primitive):
    """The mean and maximum of x `over` some axes, stacked on a new `axis`, in either order."""

    colour: ClassVar[str] = "reduce"
    anew: ClassVar[bool] = True

    op: str = "mean_and_max"
    x: NodeRef
    over: AxisNames
    axis: AxisName
    mean_first: bool

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes without the reduced ones, and the new one of size 2."""
        return axes(self.x).without(self.over).extended({self.axis: constant(2)}, order)

    def looks_around(self, places: tuple[str, ...]) -> bool:
        """Return whether it pools over only some of the spatial axes."""
        return partly(self.over, places)

    def lower(self, emit: Emitter) -> Any:
        """Write one call."""
        from composer.kernels.mean_and_max import mean_and_max

        x, where = side_by_side(emit, self.x, self.over)
        at = emit.axes(emit.here).index(self.axis)
        return emit.function(mean_and_max, x, where, at, self.mean_first)

    def label(self) -> str:
        """Return such as ``mean and max over h, w``."""
        return f"mean and max over {', '.join(self.over)}"

    def formula(self) -> str:
        """Return such as ``[Σ x / hw, max x]``."""
        parts = (mean_of(self.over), "max x")
        return f"[{', '.join(parts if self.mean_first else parts[::-1])}]"
