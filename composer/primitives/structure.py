"""Nodes that stand for several nodes: they are expanded before axes are inferred."""

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
    """One node of an expanded structure.

    `path` leads to its fields from those of the structure; `names` are defined inside it, such as
    the branch number; `weights` names the part whose weights it shares. A `bound` part consists of
    the structure's own expressions, which are already bound.
    """

    name: str
    op: Primitive
    path: YamlPath = ()
    names: Mapping[str, int] = field(default_factory=dict)
    weights: str | None = None
    bound: bool = False


class Structure(Primitive):
    """A node that stands for several; only its own fields are bound before expansion."""

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return the nodes it stands for; the last one has its name, or names.

        Raises:
            AxisProblem: the number of nodes is not known.
        """
        raise NotImplementedError

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Raise, because a structure has been expanded before this."""
        raise TypeError(f"{self.op} is not expanded")

    def lower(self, emit: Emitter) -> Any:
        """Raise, because a structure has been expanded before this."""
        raise TypeError(f"{self.op} is not expanded")


class Alias(Primitive):
    """Another name for a value; not an op of the language, but a result of expansion."""

    op: str = "alias"
    x: NodeRef

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the same axes."""
        return axes(self.x)

    def lower(self, emit: Emitter) -> Any:
        """Emit nothing."""
        return emit.node(self.x)


class Given(Primitive):
    """A second input of the module; not an op of the language."""

    op: str = "given"
    axes: Axes

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes as given."""
        return self.axes

    def lower(self, emit: Emitter) -> Any:
        """Emit an additional input of the module."""
        return emit.given()


class Repeating(Structure):
    """A structure whose parts are the same op, written once under `each`.

    Its field `counter` holds the name of the part number inside `each`.
    """

    counter: ClassVar[str]
    each: Any

    @field_validator("each")
    @classmethod
    def _reads_one_value(cls, each: Any) -> Any:
        if "x" not in type(each).model_fields:
            raise ValueError(
                f"{each.op} does not read exactly one value x, so it can't be repeated"
            )
        if each.x is not None:
            raise ValueError("give x on the node itself, not inside 'each'")
        return each

    def expressions(self) -> tuple[Written, ...]:
        """Return the node's own expressions; those of `each` are bound after expansion."""
        return tuple([found for found in super().expressions() if found[0][0] != "each"])

    def operands(self) -> list[tuple[YamlPath, Expr]]:
        """Return the node's own; those of `each` follow after expansion."""
        return [found for found in super().operands() if found[0][0] != "each"]


def count(times: Expr) -> int:
    """Return the number of parts.

    Raises:
        AxisProblem: code ``open-choice``, if that depends on an unknown size.
    """
    if not times.is_constant:
        raise AxisProblem(
            "open-choice",
            f"the number of parts {times} depends on {listing(sorted(times.names))}, not known "
            "before the module is built",
            ("times",),
            "the number of parts may depend only on params",
        )
    return int(times.value)
