"""`unstack`: the slices along an axis as separate nodes."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from composer.language.expressions import constant
from composer.language.fields import AxisName, NodeRef
from composer.language.names import COMMA
from composer.primitives.pick import Pick
from composer.primitives.structure import Part, Structure


class Unstack(Structure):
    """One value per slice along `axis`, which is removed: ``q, k, v: {op: unstack, axis: part}``.

    The node's names, separated by commas, name the values.
    """

    example: ClassVar[str] = """
        parts: {op: split, axis: c, into: {part: 2, c: c / 2}}
        first, second: {op: unstack, axis: part}
        out: {op: add, of: [first, second]}
    """
    colour: ClassVar[str] = "combine"

    op: Literal["unstack"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axis: AxisName = Field(description="the axis to remove; its size is the number of names")

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return one slice for each name."""
        assert self.x is not None
        names = name.split(COMMA)
        return tuple(
            Part(
                one,
                Pick(
                    op="pick", x=self.x, axis=self.axis, index=constant(number),
                    of=constant(len(names)),
                ),
            )
            for number, one in enumerate(names)
        )  # fmt: skip

    def label(self) -> str:
        """Return such as ``slices along part``."""
        return f"slices along {self.axis}"
