"""`branch`: the same op several times on one value, stacked on a new axis."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from composer.language.expressions import constant
from composer.language.fields import AxisName, NodeRef, Size
from composer.primitives.found import AnyPrimitive
from composer.primitives.stack import Stack
from composer.primitives.structure import Part, Repeating, count


class Branch(Repeating):
    """`times` branches that all read x, stacked on `axis`, whose name counts them from 0.

    ``{op: branch, axis: k, times: 2, each: {op: conv2d, kernel: 3, dilation: k + 1}}`` sees two
    receptive fields, as in SK (arXiv:1903.06586). Each branch has its own weights.
    """

    example: ClassVar[str] = """
        out: {op: branch, axis: k, times: 2, each: {op: conv2d, kernel: 3, dilation: k + 1}}
    """
    colour: ClassVar[str] = "combine"
    counter: ClassVar[str] = "axis"

    op: Literal["branch"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axis: AxisName = Field(
        description="the new axis; in `each`, its name is the branch number from 0"
    )
    times: Size = Field(description="the number of branches")
    each: AnyPrimitive = Field(description="one branch, an op that reads x")

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return the branches and the stack of them."""
        numbers = range(count(self.times))
        names = [f"{name}.{number}" for number in numbers]
        each = self.each.model_copy(update={"x": self.x})
        branches = (Part(names[number], each, ("each",), {self.axis: number}) for number in numbers)
        stacked = Stack(op="stack", of=tuple(map(constant, names)), axis=self.axis)
        return (*branches, Part(name, stacked))

    def label(self) -> str:
        """Return such as ``2 branches on k``."""
        return f"{self.times} branches on {self.axis}"
