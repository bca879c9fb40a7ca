"""`repeat`: the same op several times in a chain."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from composer.language.expressions import constant
from composer.language.expressions import name as named
from composer.language.fields import Amount, Flag, Name, NodeRef
from composer.primitives.found import AnyPrimitive
from composer.primitives.structure import Alias, Part, Repeating, count


class Repeat(Repeating):
    """`times` steps in a chain; `index` counts them from 0 inside `each`.

    Each step has its own weights unless they are `shared`.
    """

    example: ClassVar[str] = "out: {op: repeat, times: 2, each: {op: conv2d, kernel: 3, act: relu}}"
    colour: ClassVar[str] = "combine"
    counter: ClassVar[str] = "index"

    op: Literal["repeat"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    times: Amount = Field(description="the number of steps; 0 returns x")
    index: Name = Field(
        default="i", description="the name of the step number in `each`, counted from 0"
    )
    shared: Flag = Field(default=constant(False), description="whether all steps share weights")
    each: AnyPrimitive = Field(description="one step, an op that reads x")

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return the steps, and the node's own name as an alias of the last one."""
        steps: list[Part] = []
        reads = self.x
        first = f"{name}.0" if self.shared.value else None
        for number in range(count(self.times)):
            step = self.each.model_copy(update={"x": reads})
            here = f"{name}.{number}"
            steps.append(Part(here, step, ("each",), {self.index: number}, first))
            reads = named(here)
        return (*steps, Part(name, Alias(x=reads)))

    def label(self) -> str:
        """Return such as ``3 times``."""
        return f"{self.times} times"
