"""What a node of several nodes is: it is expanded before the axes are inferred."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import field_validator

from composer.errors import listing
from composer.language.expressions import Expr
from composer.language.fields import NodeRef
from composer.language.source import YamlPath
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, Written


@dataclass(frozen=True)
class Part:
    """One node that a structure is made of.

    `path` leads to its fields from those of the structure; `names` are known inside it, such as
    the number of the branch; `weights` names the part whose weights it shares. What is `bound` is
    made of expressions of the structure's own, which are bound by then.
    """

    name: str
    op: Primitive
    path: YamlPath = ()
    names: Mapping[str, int] = field(default_factory=dict)
    weights: str | None = None
    bound: bool = False


class Structure(Primitive):
    """A node that stands for several; only its own fields are bound, before it is expanded."""

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return the nodes it stands for, the last of which has its name, or names.

        Raises:
            AxisProblem: their number is not known.
        """
        raise NotImplementedError

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Raise, for a structure has been expanded by then."""
        raise TypeError(f"{self.op} is not expanded")

    def lower(self, emit: Emitter) -> Any:
        """Raise, for a structure has been expanded by then."""
        raise TypeError(f"{self.op} is not expanded")


class Alias(Primitive):
    """Another name for a value; no op of the language, but what a structure leaves behind."""

    op: str = "alias"
    x: NodeRef

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Write nothing."""
        return emit.node(self.x)


class Given(Primitive):
    """A value that comes in beside the input; no op of the language."""

    op: str = "given"
    axes: Axes

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes as told."""
        return self.axes

    def lower(self, emit: Emitter) -> Any:
        """Write one more input of the module."""
        return emit.given()


class Repeating(Structure):
    """A structure whose parts are one op, written once under `each`.

    The name in its field `counter` is the number of the part there.
    """

    counter: ClassVar[str]
    each: Any

    @field_validator("each")
    @classmethod
    def _reads_one_value(cls, each: Any) -> Any:
        if "x" not in type(each).model_fields:
            raise ValueError(f"{each.op} does not read one value x, so it can't be repeated")
        if each.x is not None:
            raise ValueError("what each of them reads is told outside, by the x of the node")
        return each

    def expressions(self) -> tuple[Written, ...]:
        """Return the node's own expressions; those of `each` are bound once it is expanded."""
        return tuple([found for found in super().expressions() if found[0][0] != "each"])

    def operands(self) -> list[tuple[YamlPath, Expr]]:
        """Return the node's own; those of `each` are told once it is expanded."""
        return [found for found in super().operands() if found[0][0] != "each"]


def count(times: Expr) -> int:
    """Return how many parts there are.

    Raises:
        AxisProblem: code ``open-choice``, where that depends on a size that is not known.
    """
    if not times.is_constant:
        raise AxisProblem(
            "open-choice",
            f"{times} parts depend on {listing(sorted(times.names))}, which is not known before "
            "the module is built",
            ("times",),
            "how many parts there are may depend on params alone",
        )
    return int(times.value)
