"""The reference of the language, generated from the models: each op with its fields."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from composer.errors import listing
from composer.language.fields import Kind
from composer.language.models import Model
from composer.language.position import Position
from composer.language.selection import Selection
from composer.primitives import ops
from composer.primitives.base import Primitive
from composer.primitives.initialise import Init
from composer.primitives.normalization import Norm

#: The description of a scalar of each kind.
_KINDS = {
    "size": "a size", "number": "a number", "flag": "true or false", "node": "a node",
    "operand": "a node or a number", "setting": "a number, a flag or a word",
}  # fmt: skip
_PLAIN = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text",
}  # fmt: skip

AXIS_LETTERS = 20  # the longest name of an axis; other names may be longer


@dataclass(frozen=True)
class FieldLine:
    """One field: its name, what it takes, its default (``required`` if there is none)."""

    name: str
    kind: str
    default: str
    description: str


@dataclass(frozen=True)
class Reference:
    """One op: what it does, its fields, and a valid example."""

    op: str
    does: str
    fields: tuple[FieldLine, ...]
    example: str | None


def reference(op: str) -> Reference:
    """Return the reference of an existing op."""
    primitive = ops()[op]
    fields = tuple(field for field in fields_of(primitive) if field.name != "op")
    return Reference(op, _prose(primitive), fields, example_text(op))


def example_text(op: str) -> str | None:
    """Return the example of an op as a complete spec; None if there is none."""
    said = ops()[op].example
    nodes = inspect.cleandoc(said if isinstance(said, str) else said.get(op, ""))
    if not nodes:
        return None
    lines = "".join(f"  {line}\n" for line in nodes.splitlines())
    return f"name: example\ninput: [b, c, h, w]\nnodes:\n{lines}"


def fields_of(model: type[Model]) -> Iterator[FieldLine]:
    """Yield what each field of a model takes, in order."""
    for name, info in model.model_fields.items():
        kind = _kind(info.annotation, info.metadata)
        yield FieldLine(name, kind, _default(info), info.description or "")


def _prose(model: type[Any]) -> str:
    """Return a docstring with code marked up in Markdown."""
    return re.sub(r"``(.+?)``", r"`\1`", inspect.cleandoc(model.__doc__ or ""))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ((), {}):
        return ""
    if isinstance(value, tuple):
        alone = len(value) == 1 and _may_be_one(info.metadata)
        return str(value[0]) if alone else f"[{', '.join(map(str, value))}]"
    return "" if isinstance(value, Init) else _short(value)


def _may_be_one(metadata: Sequence[Any]) -> bool:
    """Return whether a single value is accepted for a list of it: ``h`` for ``[h]``."""
    return any(isinstance(m, BeforeValidator) for m in metadata)


def _short(value: Any) -> str:
    if isinstance(value, Norm):
        return str(value.fn)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return what an annotation takes, in words."""
    if hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0], annotation.__metadata__)
    for kind in (m for m in metadata if isinstance(m, Kind)):
        return _of_kind(kind)
    if letters := next((m.max_length for m in metadata if getattr(m, "pattern", None)), None):
        return "an axis" if letters == AXIS_LETTERS else "a name"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_kind(a) for a in inner if a is not type(None)))
    if origin is Literal:
        return listing([str(word) for word in inner], last="or")
    if origin is tuple:
        one = _kind(inner[0])
        many = f"a list of {_plural(one)}"
        return f"{one}, or {many}" if _may_be_one(metadata) else many
    if origin is dict:
        return f"a mapping of {_plural(_kind(inner[0]))} to {_plural(_kind(inner[1]))}"
    return _of_class(annotation)


def _of_kind(kind: Kind) -> str:
    if kind.name == "word":
        return listing(kind.words, last="or")
    bounds = f" from {kind.between[0]:g} to {kind.between[1]:g}" if kind.between else ""
    return f"{_KINDS[kind.name]}{' or 0' if kind.low == 0 else ''}{bounds}"


def _plural(one: str) -> str:
    """Return the plural of a kind: ``axes``, ``nodes or numbers``."""
    parts = re.split(r"(, | or )", one)
    if not one.startswith(("a ", "an ")):
        return f"({one})" if len(parts) > 1 else one
    return "".join(re.sub(r"^an? (.+?)( from .*)?$", _many, part) for part in parts)


def _many(one: re.Match[str]) -> str:
    return ("axes" if one[1] == "axis" else f"{one[1]}s") + (one[2] or "")


def _of_class(annotation: Any) -> str:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if annotation in (Selection, Position):
        return "a position" if annotation is Position else "positions"
    if annotation is Primitive:
        return "a node"
    if isinstance(annotation, type) and issubclass(annotation, Norm):
        return "a word, or a mapping"
    if annotation is Init:
        return "a number, a word, or a mapping"
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return "a mapping"
    return "a value"
