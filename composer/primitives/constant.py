"""`constant`: a table of constants, from an expression over the indices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, ExpressionError, bind, name
from composer.language.fields import AxisName, Number, Size
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, whole

#: Elements that a table may have: 3,136² fits, one for each pair of positions of a 56×56 map.
MAX_ELEMENTS = 10_000_000
#: Marks an index, as opposed to the size of the same axis; no spec can write it.
_MARK = "′"
_CORNERS = 6  # axes whose ends are checked
_LONG = 40  # characters of a formula


def index_of(axis: str) -> str:
    """Return the name of the index along an axis in a bound expression."""
    return f"{axis}{_MARK}"


def shown(value: Expr) -> str:
    """Return a bound value as it was written."""
    return str(value).replace(_MARK, "")


def without_value(value: Expr, at: Mapping[str, int], code: str, why: str) -> AxisProblem:
    """Return the problem of an expression without a value at some indices, and why."""
    where = ", ".join(f"{axis} = {number}" for axis, number in at.items())
    axis, number = next(iter(at.items()))
    way_out = f"write '{shown(value)} if {axis} != {number} else 0'"
    return AxisProblem(
        code,
        f"at {where}, {why.replace(_MARK, '')}",
        ("value",),
        f"indices count from 0; to exclude one, {way_out}",
    )


class Constant(Primitive):
    """A table: ``{op: constant, axes: {y: 7, ky: 7, r: 13}, value: 1 if r == y - ky + 6 else 0}``.

    It is computed in float64, then rounded to the dtype of the module; it is not learned, and not
    in the state dict. If it depends on open sizes, it is computed at run time.
    """

    example: ClassVar[str] = """
        waves: {op: constant, axes: {c: c, h: h}, value: cos(pi * c * (h + 0.5) / 64)}
        out: {op: product, of: [input, waves], sum: h}
    """
    colour: ClassVar[str] = "plain"
    computed: ClassVar[tuple[str, ...]] = ("value",)

    op: Literal["constant"]
    axes: dict[AxisName, Size] = Field(
        description="its axes with their sizes; {} is a single number"
    )
    value: Number = Field(
        description="each element, over sizes, params and the axes: the name of an axis is the "
        "index along it, counted from 0; true is 1, and false is 0"
    )

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and tuple(self.axes) == tuple(getattr(other, "axes", ()))

    def __hash__(self) -> int:
        return hash((tuple(self.axes.items()), self.value))

    def indices(self, path: YamlPath) -> dict[str, Expr]:
        """Return the axes, whose names are indices in `value`, not sizes."""
        return {axis: name(index_of(axis)) for axis in self.axes} if path == ("value",) else {}

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes as given."""
        known = [whole(size) for size in self.axes.values() if size.is_constant]
        if math.prod(known) > MAX_ELEMENTS:
            raise AxisProblem(
                "value-too-large",
                f"a table of {' × '.join(f'{n:,}' for n in known)} elements is more than "
                f"{MAX_ELEMENTS:,}",
                ("axes",),
                "make one for each axis, and combine them with mul or add",
            )
        self._check_corners()
        return Axes(()).extended(self.axes, order)

    def _check_corners(self) -> None:
        """Refuse an expression without a value at the ends of the axes, where zeros are likely."""
        ends = [
            (axis, {0, whole(size) - 1} if size.is_constant else {0})
            for axis, size in self.axes.items()
            if index_of(axis) in self.value.names
        ]
        for place in itertools.product(*(sorted(one) for _, one in ends[:_CORNERS])):
            at = dict(zip((axis for axis, _ in ends), place, strict=False))
            try:
                bind(self.value, {index_of(axis): number for axis, number in at.items()})
            except ExpressionError as failure:
                raise without_value(self.value, at, failure.code, failure.message) from None

    def lower(self, emit: Emitter) -> Any:
        """Emit a read of the table, stored with its axes in the wanted order."""
        return emit.table(self.value, emit.axes(emit.here))

    def label(self) -> str:
        """Return such as ``constant [y, r]``."""
        return f"constant [{', '.join(self.axes)}]"

    def formula(self) -> str:
        """Return the value as written, if that is short."""
        text = shown(self.value).replace("-", "−")
        return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
