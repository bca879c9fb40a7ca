"""Two values multiplied and summed: what a mul and a pool become; no op of the language."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any, ClassVar

from composer.language.expressions import Expr
from composer.language.fields import AxisNames, NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive, elements, whole
from composer.primitives.broadcast import meet
from composer.primitives.cost import Cost, of_einsum


class Contraction(Primitive):
    """Σ a · b `over` axes that both have: a product of matrices, all other axes riding along."""

    colour: ClassVar[str] = "combine"
    anew: ClassVar[bool] = True

    op: str = "contraction"
    a: NodeRef
    b: NodeRef
    over: AxisNames

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of both, less those summed."""
        return meet([(("a",), self.a), (("b",), self.b)], axes, order).without(self.over)

    def lower(self, emit: Emitter) -> Any:
        """Write one einsum, which torch does as a batch of matrix products."""
        import torch

        have = (emit.axes(self.a).names, emit.axes(self.b).names, emit.axes(emit.here).names)
        letters: dict[str, str] = {}
        for axis in (*have[0], *have[1]):
            letters.setdefault(axis, string.ascii_letters[len(letters)])
        a, b, out = ("".join(letters[axis] for axis in names) for names in have)
        return emit.function(
            torch.einsum, f"{a},{b}->{out}", emit.node(self.a), emit.node(self.b)
        )

    def cost(self, axes: Callable[[Expr], Axes], own: Axes) -> Cost:
        """Return the product."""
        return of_einsum(elements(own), math.prod(whole(axes(self.a)[axis]) for axis in self.over))

    def label(self) -> str:
        """Return such as ``Σ over d of a product``."""
        return f"Σ over {', '.join(self.over)} of a product"

    def formula(self) -> str:
        """Return such as ``Σ a · b``."""
        return f"Σ {self.a} · {self.b}"
