"""The kinds of field a spec has, as annotated types; each scalar may be an expression.

The `Kind` in a field's annotation says what the value of its expression must be once it is bound:
a size, a number, a flag, one of some words, the name of a node, a node or a number (an operand), or
any of these (a setting).
"""

from __future__ import annotations

import keyword
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from composer.errors import listing
from composer.language import expressions
from composer.language.expressions import Expr, ExpressionError, Value
from composer.language.names import COMMA
from composer.language.operations import NUMBERS
from composer.language.source import kind_of
from composer.language.words import VALUES, meant

KindName = Literal["size", "number", "flag", "word", "node", "operand", "setting"]


@dataclass(frozen=True)
class Kind:
    """What the value of a field's expression must be; used in `Annotated[Expr, Kind(…)]`."""

    name: KindName
    words: tuple[str, ...] = ()
    low: int = 1
    between: tuple[float, float] | None = None

    @property
    def names_nodes(self) -> bool:
        """Whether the expression may be the name of a node."""
        return self.name in ("node", "operand")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        expression: dict[str, Any] = {
            "type": "string",
            "description": "an expression over sizes and params",
        }
        kinds: dict[str, dict[str, Any]] = {
            "size": {"type": "integer", "minimum": self.low},
            "number": {"type": "number", **self._bounds()},
            "flag": {"type": "boolean"},
            "word": {"enum": list(self.words)},
            "node": {"type": "string", "description": "the name of a node, or 'input'"},
            "operand": {
                "type": ["number", "string"],
                "description": "the name of a node, 'input', or a number over sizes and params",
            },
            "setting": {"type": ["number", "boolean", "string"]},
        }
        plain, alone = kinds[self.name], self.names_nodes or self.name == "setting"
        return plain if alone else {"anyOf": [plain, expression]}

    def _bounds(self) -> dict[str, float]:
        return dict(zip(("minimum", "maximum"), self.between or (), strict=False))

    def read(self, value: Any) -> Expr:
        """Return a YAML value as an expression; refuse what can never be of this kind."""
        if isinstance(value, Expr):
            return value
        if isinstance(value, str):
            if self.name in ("word", "node") and value.isidentifier():
                return expressions.name(value)
            expr = parse_expression(value)
        elif isinstance(value, (bool, int, float)):
            expr = expressions.constant(value)
        else:
            wanted, given = _ARTICLE[self.name], kind_of(value)
            if not (isinstance(value, dict) and "op" in value):
                raise PydanticCustomError("invalid-value", f"expected {wanted}, but got {given}")
            node = "define the node on its own line"
            shown = "its name" if self.name == "node" else self.example
            hint = f"{node}, and write {shown} here"
            context = {"said": f"expected {wanted}, but got a node", "help": hint}
            raise PydanticCustomError("invalid-value", "{said}", context)
        if expr.is_constant and (refusal := self.refusal(expr.value)):
            message, way_out = refusal
            raise PydanticCustomError("invalid-value", "{said}", {"said": message, "help": way_out})
        return expr

    @property
    def example(self) -> str:
        """A description of such a value, with an example."""
        words = listing(self.words[:3], last="or")
        return {"word": f"a word such as {words}", **_EXAMPLES}.get(self.name, "a value")

    def refusal(self, value: Value) -> tuple[str, str | None] | None:
        """Return (message, help) if `value` is not of this kind, else None."""
        if self.name == "size":
            if isinstance(value, (bool, str)):
                return f"{_shown(value)} is not a whole number", None
            if not math.isfinite(value) or value != int(value):
                return f"{value} is not a whole number", "divide with //, or use ceil or floor"
            if value < self.low:
                return f"a size must be at least {self.low}, and this is {int(value)}", None
            if value > expressions.MAX_MAGNITUDE:
                return f"{value} is more than {expressions.MAX_MAGNITUDE:.0e}", None
        elif self.name in ("number", "operand"):
            if self.name == "operand" and isinstance(value, (bool, str)):
                return f"{_shown(value)} is neither a node nor a number", "name a node, or 'input'"
            if isinstance(value, (bool, str)):
                return f"{_shown(value)} is not a number", None
            if not abs(value) <= expressions.MAX_MAGNITUDE:
                return f"{value} is not a number up to {expressions.MAX_MAGNITUDE:.0e}", None
            if self.between and not self.between[0] <= value <= self.between[1]:
                return f"{value} is not between {self.between[0]:g} and {self.between[1]:g}", None
        elif self.name == "flag" and not isinstance(value, bool):
            return f"{_shown(value)} is neither true nor false", "write true or false"
        elif self.name == "node" and not isinstance(value, str):
            return f"{_shown(value)} is not the name of a node", "name a node, or 'input'"
        elif self.name == "word" and value not in self.words:
            near = meant(str(value), self.words, VALUES)
            choices = f"it may be {listing(self.words, last='or')}"
            return f"{_shown(value)} is not allowed here", f"{near} {choices}" if near else choices
        return None


_ARTICLE: dict[KindName, str] = {
    "size": "a size", "number": "a number", "flag": "true or false", "word": "a word",
    "node": "the name of a node", "operand": "a node or a number",
    "setting": "a number, true, false or text",
}  # fmt: skip

_EXAMPLES: dict[str, str] = {
    "size": "a size such as 64 or c // 4", "number": "a number such as 0.5 or c ** -0.5",
    "flag": "true or false", "setting": "a number, a flag or a word",
}  # fmt: skip


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def parse_expression(text: str) -> Expr:
    """Parse an expression inside a pydantic validator; an error carries its span in the text."""
    try:
        return expressions.parse(text)
    except ExpressionError as failure:
        raise PydanticCustomError(
            "expression",
            "{said}",
            {
                "said": failure.message,
                "code": failure.code,
                "start": failure.start,
                "length": failure.length,
                "help": failure.help,
            },
        ) from None


def word(*words: str) -> Kind:
    """Return the kind of a field that takes one of `words`, or an expression for one."""
    return Kind("word", words)


Size = Annotated[Expr, Kind("size")]
Amount = Annotated[Expr, Kind("size", low=0)]
Number = Annotated[Expr, Kind("number")]
Share = Annotated[Expr, Kind("number", between=(0, 1))]
Epsilon = Annotated[Expr, Kind("number", between=(1e-12, 1))]
Flag = Annotated[Expr, Kind("flag")]
NodeRef = Annotated[Expr, Kind("node")]
Operand = Annotated[Expr, Kind("operand")]
Setting = Annotated[Expr, Kind("setting")]
Whole = Annotated[int, Field(ge=1, strict=True)]

MAX_NAME = 60  # characters
WORD = "[A-Za-z][A-Za-z0-9_]*"
_NAME = f"^{WORD}$"
_NAMES = f"^{WORD}({COMMA}{WORD})*$"

#: Words that are reserved in expressions or in the Python that a module is compiled to.
RESERVED = frozenset({*keyword.kwlist, "true", "false", *NUMBERS})


def _not_reserved(value: str) -> str:
    if reserved := RESERVED.intersection(value.split(COMMA)):
        said = f"{min(reserved)!r} is a reserved word, not a name"
        context = {"said": said, "help": "choose another name"}
        raise PydanticCustomError("bad-name", "{said}", context)
    return value


Name = Annotated[
    str, StringConstraints(pattern=_NAME, max_length=MAX_NAME), AfterValidator(_not_reserved)
]
Names = Annotated[
    str, StringConstraints(pattern=_NAMES, max_length=MAX_NAME), AfterValidator(_not_reserved)
]
AxisName = Annotated[
    str, StringConstraints(pattern=_NAME, max_length=20), AfterValidator(_not_reserved)
]


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) or value is None else [value]


Sizes = Annotated[
    tuple[Size, ...],
    Field(min_length=1),
    BeforeValidator(
        _one_or_more, json_schema_input_type=Size | Annotated[list[Size], Field(min_length=1)]
    ),
]

AxisNames = Annotated[
    tuple[AxisName, ...],
    BeforeValidator(
        _one_or_more,
        json_schema_input_type=AxisName | Annotated[list[AxisName], Field(min_length=1)],
    ),
]

Amounts = Annotated[
    tuple[Amount, ...],
    Field(min_length=1),
    BeforeValidator(
        _one_or_more, json_schema_input_type=Amount | Annotated[list[Amount], Field(min_length=1)]
    ),
]
Numbers = Annotated[
    tuple[Number, ...],
    Field(min_length=1),
    BeforeValidator(
        _one_or_more, json_schema_input_type=Number | Annotated[list[Number], Field(min_length=1)]
    ),
]
