"""Where inside a block: ``residual``, ``residual:attn``, ``input``, ``output``, ``after:conv2``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

Kind = Literal["residual", "input", "output", "after"]

_SPOT = re.compile(r"(residual|after)(?:[:_]([A-Za-z0-9_.]+))?|(input|output)")
_FORMS = "it may be residual, residual:BRANCH, input, output or after:NAME"


class PositionError(ValueError):
    """A position that cannot be read."""


@dataclass(frozen=True)
class Spot:
    """A place inside a block; `of` names its residual branch, or the child that it is behind.

    A branch is told by its number from 1, in the order of the adds, or by a child in it, such as
    ``attn``; a child by its name, or as ``conv2`` where it is the second convolution.
    """

    kind: Kind
    of: str | None = None

    @classmethod
    def parse(cls, text: str) -> Spot:
        """Read a position.

        Raises:
            PositionError: it is none.
        """
        found = _SPOT.fullmatch(text)
        if found is None or (found[1] == "after" and not found[2]):
            raise PositionError(f"{text!r} is no position; {_FORMS}")
        kind: Any = found[1] or found[3]
        return cls(kind, found[2])

    def __str__(self) -> str:
        return f"{self.kind}:{self.of}" if self.of else self.kind


def _read(value: Any) -> str:
    if not isinstance(value, str):
        said = {"said": f"a position is a word; {_FORMS}"}
        raise PydanticCustomError("invalid-value", "{said}", said)
    try:
        return str(Spot.parse(value))
    except PositionError as failure:
        raise PydanticCustomError("invalid-value", "{said}", {"said": str(failure)}) from None


PositionText = Annotated[
    str,
    PlainValidator(_read),
    WithJsonSchema({
        "anyOf": [
            {"enum": [kind for kind in get_args(Kind) if kind != "after"]},
            {"type": "string", "pattern": "^(residual|after)[:_][A-Za-z0-9_.]+$"},
        ],
    }),
]  # fmt: skip
