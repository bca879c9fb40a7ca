"""What a spec holds, as pydantic models; unknown fields are refused.

The union of the primitives is a type parameter, for each primitive is a model of its own and
this file knows none of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from composer.spec import expressions
from composer.spec.expressions import Expr, Value
from composer.spec.fields import AxisName, Name, parse_expression
from composer.spec.names import free_name
from composer.spec.selection import Positions
from composer.spec.source import Source


class Model(BaseModel):
    """A frozen model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Param(Model):
    """A knob of a spec: its default, and for a word the choices."""

    default: int | float | bool | str = Field(
        description="a number, a flag, a word of `choices`, or an expression over sizes and params"
    )
    choices: tuple[Name, ...] = Field(default=(), description="the words it may be")
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


class Insert(Model):
    """Where the paper puts the mechanism."""

    at: Literal["block", "stage"] = Field(description="each block, or each stage")
    position: Literal["residual", "output"] | None = Field(
        default=None,
        description="the end of the residual branch before the add (a block's default), or the "
        "output",
    )
    stages: Positions | None = Field(default=None, description="which stages; all unless told")
    blocks: Positions | None = Field(
        default=None, description="which blocks of each stage; all unless told"
    )


Op = TypeVar("Op")
NodeName = Annotated[Name, AfterValidator(free_name)]


class SpecOf(Model, Generic[Op]):
    """An attention mechanism as a graph of primitives over named axes."""

    composer: Literal[1] = Field(default=1, description="the version of the language")
    name: Name = Field(description="one word; the checkpoint's keys carry it")
    title: str | None = Field(default=None, description="the mechanism's name in prose")
    source: str | None = Field(default=None, description="the paper: arXiv:1709.01507")
    params: dict[Name, Param] = Field(default_factory=dict, description="the knobs")
    input: tuple[AxisName, ...] = Field(
        min_length=2, description="the axes of the input, the batch first: [b, c, h, w]"
    )
    nodes: dict[NodeName, Op] = Field(min_length=1, description="the graph, each node an op")
    output: Name | None = Field(default=None, description="the last node unless told")
    insert: Insert | None = Field(default=None, description="where the paper puts it")
    deviations: tuple[str, ...] = Field(
        default=(), description="where paper and official code differ, and which this follows"
    )

    _source: Source = PrivateAttr(default_factory=lambda: Source("<spec>", ""))

    @property
    def origin(self) -> Source:
        """The text the spec was read from, with the place of each value."""
        return self._source

    @property
    def output_name(self) -> str:
        """The node whose value the mechanism returns."""
        return self.output or next(reversed(self.nodes))
