"""One use of an op, as data: the nodes of a spec, and the expected result."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from composer.errors import error, suggestion
from composer.plugins import PluginError
from composer.primitives.base import Primitive
from composer.primitives.found import find_op, op_names

Weights = Mapping[str, Tensor]
Sizes = Mapping[str, int]

#: Default ranges of sizes: for the axes of an example, and for any other axis.
USUAL: Mapping[str, Sequence[int]] = {
    "b": (2, 3), "c": (64,), "h": (4, 5, 6, 7), "w": (4, 5, 6, 7), "d": (4, 5, 6),
    "n": (6, 8, 12), "t": (8, 9, 10),
}  # fmt: skip
OTHER = (2, 3, 4)


@dataclass(frozen=True)
class Case:
    """One use of an op.

    Args:
        op: its name in a spec.
        nodes: the lines under ``nodes:``; the last of them is the op's. Its example by default.
        axes: the axes of the input.
        out: the axes of the value, in order, each with its size if that differs from the input's:
            ``"b c h=h//2 w"``. The inferred axes are compared with the real shape in any case.
        reference: computes the value in plain torch, from the weights by key and the input.
        count: computes the number of parameters from the sizes.
        batch_first: whether the first axis is the batch, in every layout.
        rides: whether an axis that the op does not name rides along.
        sizes: the ranges of sizes, if the default ones don't fit.
    """

    op: str
    nodes: str = ""
    axes: str = "b c h w"
    out: str = ""
    reference: Callable[[Weights, Tensor], Tensor] | None = None
    count: Callable[[Sizes], int] | None = None
    batch_first: bool = False
    rides: bool = True
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.lines[-1].split(": ", 1)[1].removeprefix("{").removesuffix("}")

    @property
    def primitive(self) -> type[Primitive]:
        """The class of the op.

        Raises:
            ComposerError: the op does not exist, or is broken.
        """
        return needed_op(self.op)

    @property
    def lines(self) -> list[str]:
        """The nodes, one line each."""
        said = self.primitive.example
        example = said if isinstance(said, str) else said.get(self.op, "")
        return inspect.cleandoc(self.nodes or example).splitlines() or [f"out: {{op: {self.op}}}"]

    def text(self, axes: Sequence[str] = ()) -> str:
        """Return the spec for these input axes."""
        lines = "".join(f"  {line.strip()}\n" for line in self.lines)
        names = ", ".join(axes or self.axes.split())
        return f"name: probe\nparams: {{}}\ninput: [{names}]\nnodes:\n{lines}"

    def drawn(self, seed: int = 0) -> dict[str, int]:
        """Return sizes of the input's axes, determined by the seed."""
        draw = random.Random(seed)
        choices = {axis: self.sizes.get(axis, USUAL.get(axis, OTHER)) for axis in self.axes.split()}
        return {axis: draw.choice(list(numbers)) for axis, numbers in choices.items()}


def needed_op(op: str) -> type[Primitive]:
    """Return the class of an op.

    Raises:
        ComposerError: the op does not exist, or is broken.
    """
    try:
        found = find_op(op)
    except PluginError as broken:
        raise error("broken-plugin", broken.message, broken.way_out) from None
    if found is None:
        installed = "if it is your own, install it first: pip install --no-build-isolation -e ."
        said = f"{suggestion(op, op_names(), 'Ops')}; {installed}"
        raise error("unknown-op", f"no op named {op!r}", said)
    return found
