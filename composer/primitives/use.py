"""`use`: another spec as one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisName, Name, NodeRef, Setting
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive


class Use(Primitive):
    """The mechanism of another spec, applied to x; axes that the spec does not name ride along.

    With ``axes: {c: w, w: c}`` the spec's axis c is w here, and its w is c: it treats the columns
    of the map as its channels.

    A spec has one input. With ``inputs: {k: memory}`` its node k is replaced by the value
    ``memory`` of this spec, which turns self-attention into attention to something else.

    Its nodes and their weights are named under this node's name.
    """

    example: ClassVar[str] = "out: {op: use, spec: eca, params: {kernel: 3}}"
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "combine"

    op: Literal["use"]
    spec: str = Field(description="the name of a shipped spec, or a path relative to this file")
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axes: dict[AxisName, AxisName] = Field(
        default_factory=dict,
        description="for axes of the spec's input, the corresponding axis of x; by default the "
        "one with the same name",
    )
    inputs: dict[Name, NodeRef] = Field(
        default_factory=dict,
        description="for nodes of the spec, the value of this spec that replaces it",
    )
    params: dict[Name, Setting] = Field(
        default_factory=dict,
        description="values for its params, as expressions over the params here",
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Raise, because the spec's nodes have replaced it before this."""
        raise TypeError(f"{self.spec} is not expanded")

    def lower(self, emit: Emitter) -> Any:
        """Raise, because the spec's nodes have replaced it before this."""
        raise TypeError(f"{self.spec} is not expanded")

    def label(self) -> str:
        """Return such as ``use eca``."""
        return f"use {self.spec}"
