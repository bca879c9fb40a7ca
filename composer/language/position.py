"""Where inside a block: ``residual``, ``residual:attn``, ``input``, ``output``, ``after:conv2``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

Kind = Literal["residual", "input", "output", "after"]

_POSITION = re.compile(r"(residual|after)(?:[:_]([A-Za-z0-9_.]+))?|(input|output)")
_FORMS = "it may be residual, residual:BRANCH, input, output or after:NAME"


class PositionError(ValueError):
    """A position that cannot be read."""


class Position(str):
    """A position inside a block, as written; parsed once, at construction.

    A residual branch is given by its number from 1, in the order of the adds, or by a child in it,
    such as ``attn``; a child by its name, or as ``conv2`` if it is the second convolution.

    Attributes:
        kind: which end, or ``after`` a child.
        of: the residual branch, or the child.

    Raises:
        PositionError: it is not a position.
    """

    __slots__ = ("kind", "of")
    kind: Kind
    of: str | None

    def __new__(cls, text: str) -> Self:
        """Read a position."""
        found = _POSITION.fullmatch(text)
        if found is None or (found[1] == "after" and not found[2]):
            raise PositionError(f"{text!r} is not a position; {_FORMS}")
        kind: Any = found[1] or found[3]
        self = super().__new__(cls, f"{kind}:{found[2]}" if found[2] else kind)
        self.kind, self.of = kind, found[2]
        return self

    def __getnewargs__(self) -> tuple[str]:
        return (str(self),)


def _read(value: Any) -> Position:
    if not isinstance(value, str):
        said = {"said": f"a position must be a word; {_FORMS}"}
        raise PydanticCustomError("invalid-value", "{said}", said)
    try:
        return Position(value)
    except PositionError as failure:
        raise PydanticCustomError("invalid-value", "{said}", {"said": str(failure)}) from None


PositionText = Annotated[
    Position,
    PlainValidator(_read),
    WithJsonSchema({
        "anyOf": [
            {"enum": [kind for kind in get_args(Kind) if kind != "after"]},
            {"type": "string", "pattern": "^(residual|after)[:_][A-Za-z0-9_.]+$"},
        ],
    }),
]  # fmt: skip
