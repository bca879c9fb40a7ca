"""What a layer gives in place of the axis it mixes: a new size, or new axes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from composer.primitives.base import whole
from composer.spec.expressions import Expr
from composer.spec.fields import AxisName, Size

#: A size keeps the axis; a mapping names the axes that replace it, and ``{}`` leaves none.
Out = Size | dict[AxisName, Size] | None


def out_axes(
    out: Expr | dict[str, Expr] | None, axis: str, size: Expr
) -> dict[str, Expr]:
    """Return the axes that stand where `axis` was."""
    if out is None:
        return {axis: size}
    return {axis: out} if isinstance(out, Expr) else dict(out)


def product(axes: Mapping[str, Expr]) -> int:
    """Return the number of channels that the axes come to; none is one channel."""
    return prod(whole(size) for size in axes.values())
