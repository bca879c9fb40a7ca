"""`use`: a whole spec as one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr
from composer.language.fields import AxisName, Name, NodeRef, Setting
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Emitter, Primitive


class Use(Primitive):
    """The mechanism of another spec, on x; axes that the spec does not name ride along.

    With ``axes: {c: w, w: c}`` the spec's axis c is w here, and its w is c: what it does to the
    channels of a map it does to the columns.

    A spec has one input. With ``inputs: {k: memory}`` its node k is the value ``memory`` of here
    instead, so a spec of self-attention attends to something else.

    Its nodes stand under this node's name, and so do their weights.
    """

    example: ClassVar[str] = "out: {op: use, spec: eca, params: {kernel: 3}}"
    draws_weights: ClassVar[bool] = True
    colour: ClassVar[str] = "combine"

    op: Literal["use"]
    spec: str = Field(description="a shipped spec, or a path from this file's folder")
    x: NodeRef | None = Field(default=None, description="the node above by default")
    axes: dict[AxisName, AxisName] = Field(
        default_factory=dict,
        description="by the name that the spec gives an axis of its input, which one of x it is; "
        "those of the same name by default",
    )
    inputs: dict[Name, NodeRef] = Field(
        default_factory=dict,
        description="by the name of a node of the spec, the value of here that it is instead",
    )
    params: dict[Name, Setting] = Field(
        default_factory=dict, description="values for its params, expressions over those of here"
    )

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Raise, for the spec's own nodes are put in its place."""
        raise TypeError(f"{self.spec} is not expanded")

    def lower(self, emit: Emitter) -> Any:
        """Raise, for the spec's own nodes are put in its place."""
        raise TypeError(f"{self.spec} is not expanded")

    def label(self) -> str:
        """Return such as ``use eca``."""
        return f"use {self.spec}"
