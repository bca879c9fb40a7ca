"""`chunk`: consecutive parts along an axis, which stays, as separate nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.errors import counted
from composer.language.expressions import Expr, bind, constant, difference
from composer.language.fields import Amount, AxisName, NodeRef, Size
from composer.language.names import COMMA
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes, whole
from composer.primitives.concat import total
from composer.primitives.pick import values
from composer.primitives.structure import Part, Structure


class Chunk(Structure):
    """One value for each consecutive part of `axis`: ``q, k, v: {op: chunk, axis: c}``.

    The node's names, separated by commas, name the parts. It is the inverse of `concat`.
    """

    example: ClassVar[str] = """
        value, gate: {op: chunk, axis: c}
        open: {op: gate, x: gate}
        out: {op: mul, of: [value, open]}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["chunk"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axis: AxisName = Field(description="the axis to divide")
    sizes: tuple[Size, ...] | None = Field(
        default=None,
        min_length=1,
        description="the size of each part; by default equal parts, one for each name",
    )

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return one part for each name.

        Raises:
            AxisProblem: the number of sizes differs from that of the names.
        """
        assert self.x is not None
        names = name.split(COMMA)
        if self.sizes is not None and len(self.sizes) != len(names):
            given = f"{counted(len(names), 'name')} {'is' if len(names) == 1 else 'are'}"
            raise AxisProblem(
                "wrong-number",
                f"'sizes' has {counted(len(self.sizes), 'value')}, and {given} given",
                ("sizes",),
                "give one size for each name, or omit 'sizes' for equal parts",
            )
        return tuple(
            Part(
                one,
                Piece(
                    x=self.x, axis=self.axis, sizes=self.sizes, index=constant(number),
                    of=constant(len(names)),
                ),
                bound=True,
            )
            for number, one in enumerate(names)
        )  # fmt: skip

    def label(self) -> str:
        """Return such as ``parts along c``."""
        return f"parts along {self.axis}"


class Piece(Primitive):
    """One part of a `chunk`; not an op of the language."""

    colour: ClassVar[str] = "combine"

    op: str = "chunk"
    x: NodeRef
    axis: AxisName
    sizes: tuple[Size, ...] | None
    index: Amount
    of: Size

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes of x, with the size of this part."""
        need_axes(axes(self.x), (self.axis,), ("axis",), self.x)
        have = axes(self.x)[self.axis]
        whose = f"axis {self.axis!r} of {str(self.x)!r} has {values(have)}"
        if self.sizes is not None:
            together = total(self.sizes)
            if difference(have, together) is not None:
                left = bind(Expr("-", 0, (have, total(self.sizes[:-1]))), {})
                way_out = f"choose sizes that add up to {have}"
                if not left.is_constant or whole(left) > 0:
                    way_out = f"{way_out}: the last one could be {left}"
                raise AxisProblem(
                    "size-conflict",
                    f"{whose}, but the sizes add up to {together}",
                    ("sizes",),
                    way_out,
                )
            return axes(self.x).resized(self.axis, self.sizes[self._number])
        if have.is_constant and whole(have) % whole(self.of):
            raise AxisProblem(
                "does-not-divide",
                f"{whose}, which can't be divided into {self.of} equal parts",
                ("axis",),
                f"write 'sizes: […]', {self.of} numbers that add up to {have}",
            )
        part = Expr("/", 0, (have, self.of))  # exact division, so that the parts add up to the axis
        if have.is_constant:
            part = constant(whole(have) // whole(self.of))
        return axes(self.x).resized(self.axis, part)

    @property
    def _of(self) -> int:
        return int(self.of.value)

    @property
    def _number(self) -> int:
        return int(self.index.value)

    def lower(self, emit: Emitter) -> Any:
        """Emit one split for all parts, so that their gradients are joined once."""
        where = emit.axes(self.x).index(self.axis)
        key = ("chunk", str(self.x), self.axis, self.sizes, self.of)
        parts = emit.once(key, lambda: self._split(emit, where))
        return emit.function(operator.getitem, parts, self._number)

    def _split(self, emit: Emitter, where: int) -> Any:
        """Emit all parts; for equal ones torch computes the size, so none is fixed."""
        node = emit.node(self.x)
        if self.sizes is not None:
            sizes = [emit.size(size) for size in self.sizes]
            return emit.method("split_with_sizes", node, sizes, where)
        return emit.method("unbind", emit.method("unflatten", node, where, (self._of, -1)), where)

    def label(self) -> str:
        """Return such as ``c, part 1 of 3``."""
        return f"{self.axis}, part {self._number + 1} of {self.of}"
