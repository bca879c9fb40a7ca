"""How two values are aligned: by axis name, each axis with one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from composer.language.expressions import Expr, bind, difference
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem


def meet(
    operands: Sequence[tuple[YamlPath, Expr]],
    axes: Callable[[Expr], Axes],
    order: AxisOrder,
) -> Axes:
    """Return the axes of values aligned by name.

    Raises:
        AxisProblem: code ``size-conflict``, at the operand whose size differs from an earlier one.
    """
    sizes: dict[str, Expr] = {}
    owner: dict[str, Expr] = {}
    for field, ref in operands:
        for axis, size in axes(ref).sizes:
            if axis not in sizes:
                sizes[axis], owner[axis] = size, ref
                continue
            witness = difference(sizes[axis], size)
            if witness is not None:
                raise AxisProblem(
                    "size-conflict",
                    f"axis {axis!r} has two sizes: {sizes[axis]} in {str(owner[axis])!r} and "
                    f"{size} in {str(ref)!r}",
                    field,
                    _example(axis, sizes[axis], size, witness),
                )
    return Axes(()).extended(sizes, order)


def _example(axis: str, left: Expr, right: Expr, witness: dict[str, int]) -> str:
    way_out = f"make the sizes equal, or rename one of the axes {axis!r}"
    if not witness:
        return way_out
    given = ", ".join(f"{name} = {size}" for name, size in witness.items())
    return f"with {given} they are {bind(left, witness)} and {bind(right, witness)}; {way_out}"
