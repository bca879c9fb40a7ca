"""The fields of a spec, as pydantic models; unknown fields are refused.

The union of the primitives is a type parameter: each primitive is a separate model, and this file
imports none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from composer.language import expressions
from composer.language.budget import MAX_AXES
from composer.language.expressions import Expr, Value
from composer.language.fields import (
    Amount,
    AxisName,
    Name,
    Names,
    NodeRef,
    Number,
    Whole,
    parse_expression,
)
from composer.language.names import free_names
from composer.language.position import PositionText
from composer.language.selection import Positions
from composer.language.source import Source
from composer.language.stand_in import StandsFor


class Model(BaseModel):
    """A frozen model that refuses unknown fields.

    What is found of one once may be kept in its slot `_found`: it is no field, so neither a copy
    nor a pickle nor a comparison has it.
    """

    __slots__ = ("_found",)

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, unchecked, as pydantic's; in half the time."""
        if deep or self.__pydantic_private__ is not None:
            return super().model_copy(update=dict(update or {}), deep=deep)
        changed = update or {}
        copied = type(self).__new__(type(self))
        put = object.__setattr__
        put(copied, "__dict__", {**vars(self), **changed})
        put(copied, "__pydantic_fields_set__", self.__pydantic_fields_set__ | changed.keys())
        put(copied, "__pydantic_extra__", None)
        put(copied, "__pydantic_private__", None)
        return copied


class Param(Model):
    """A parameter of a spec: its default, and the choices if it is a word."""

    default: int | float | bool | str = Field(
        description="a number, a flag, a word of `choices`, or an expression over sizes and params"
    )
    choices: tuple[Name, ...] = Field(default=(), description="the allowed words")
    help: str | None = Field(default=None, description="what it does, in a few words")

    @model_validator(mode="before")
    @classmethod
    def _bare_value(cls, data: Any) -> Any:
        return data if isinstance(data, dict) else {"default": data}

    @model_validator(mode="after")
    def _default_fits(self) -> Param:
        self.expression(self.default)
        return self

    def expression(self, value: Value) -> Expr:
        """Return `value` as an expression; a word must be one of the choices."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{value!r} is not one of {', '.join(self.choices)}")
            return expressions.constant(value)
        return parse_expression(value) if isinstance(value, str) else expressions.constant(value)


class Match(Model):
    """Which convolutions a mechanism stands in for; an omitted field matches any value."""

    kernel: Whole | None = Field(default=None, description="height and width, such as 3")
    stride: Whole | None = Field(default=None, description="such as 2")
    dilation: Whole | None = Field(default=None, description="such as 1")
    groups: Whole | None = Field(default=None, description="such as 32")
    channels: Whole | None = Field(default=None, description="input channels")
    out: Whole | None = Field(default=None, description="output channels")
    depthwise: bool | None = Field(
        default=None, description="whether it is depthwise: one group per channel"
    )
    position: Positions | None = Field(
        default=None,
        description="which of them, in execution order; 2..-1 excludes the very first",
    )
    name: str | None = Field(default=None, description="a glob over its own name: conv_*")


class Insert(Model):
    """Where the paper puts the mechanism."""

    at: Literal["block", "stage", "stem", "head", "conv", "attention", "norm", "mlp", "pool"] = (
        Field(
            description="each block, each stage, after the stem, before the head, or in place of "
            "convolutions, attention modules, norms, MLPs or the global pool"
        )
    )
    position: PositionText | None = Field(
        default=None,
        description="the end of the residual branch before the add (a block's default), of "
        "several that of residual:attn or residual:1; the input; the output; after:conv2",
    )
    stages: Positions | None = Field(default=None, description="which stages; all by default")
    blocks: Positions | None = Field(
        default=None, description="which blocks of each stage; all by default"
    )
    match: Match | None = Field(default=None, description="which convolutions; all by default")
    absorb: tuple[Literal["norm", "act"], ...] = Field(
        default=(), description="what follows the convolution and goes with it"
    )
    share: Name | None = Field(
        default=None,
        description="a node that all sites of a block share, computed from the block's input",
    )


class Beginning(Model):
    """How one node with weights starts as the layer it stands in for."""

    copies: Name | None = Field(
        default=None,
        description="the weights it takes: `kernel`, with the bias and norm where it has its own; "
        "`bias`; or the name of a layer inside the attention module",
    )
    times: Number = Field(default=expressions.constant(1), description="a factor on its output")
    live: Amount | None = Field(
        default=None, description="the branch that takes them; the others are silent"
    )
    weight: Number | None = Field(default=None, description="the initial value of its weights")
    bias: Number | None = Field(default=None, description="the initial value of its biases")


class Identity(Model):
    """How a stand-in starts out computing what it replaces; nodes not named start as published."""

    requires: dict[str, str] = Field(
        default_factory=dict,
        description="conditions over sizes and params, each with the reason for it",
    )
    nodes: dict[Name, Beginning] = Field(description="the nodes that start differently")


Op = TypeVar("Op")
NodeNames = Annotated[Names, AfterValidator(free_names)]


class SpecOf(Model, Generic[Op]):
    """An attention mechanism as a graph of primitives over named axes."""

    composer: Literal[1] = Field(default=1, description="the version of the language")
    name: Name = Field(description="one word; it is part of the checkpoint's keys")
    title: str | None = Field(default=None, description="the mechanism's name in prose")
    source: str | None = Field(default=None, description="the paper: arXiv:1709.01507")
    extends: str | None = Field(
        default=None, description="the spec that this one changes: only the changes are written"
    )
    params: dict[Name, Param] = Field(default_factory=dict, description="its parameters")
    input: tuple[AxisName, ...] = Field(
        min_length=2,
        max_length=MAX_AXES,
        description="the axes of the input, the batch first: [b, c, h, w]",
    )
    nodes: dict[NodeNames, Op] = Field(
        min_length=1, description="the graph, each node an op; `q, k, v` is a node of three values"
    )
    output: NodeRef | None = Field(default=None, description="the last node by default")
    stands_for: StandsFor | None = Field(
        default=None,
        description="the layer that it replaces; a convolution's sizes are then also names: "
        "out kernel stride padding dilation groups bias; a global pool's output is [b, c]",
    )
    insert: Insert | None = Field(default=None, description="where the paper puts it")
    identity: Identity | None = Field(
        default=None, description="how a stand-in starts out computing what it replaces"
    )
    deviations: tuple[str, ...] = Field(
        default=(), description="where paper and official code differ, and which this follows"
    )

    _source: Source = PrivateAttr(default_factory=lambda: Source("<spec>", ""))
    _used: dict[str, Any] = PrivateAttr(default_factory=dict)
    _texts: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origin(self) -> Source:
        """The text the spec was read from, with the location of each value."""
        return self._source

    @property
    def used(self) -> dict[str, Any]:
        """The specs that nodes of this one use, keyed by name."""
        return self._used

    @property
    def texts(self) -> dict[str, str]:
        """The texts of all specs that make up this one, keyed by name."""
        return self._texts
