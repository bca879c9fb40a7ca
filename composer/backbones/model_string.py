"""What a user writes for a backbone, taken apart: ``timm:resnet50?num_classes=10``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from composer.errors import error
from composer.spec.source import resolve_scalar

Library = Literal["timm", "torchvision", "file", "module"]
Argument = str | int | float | bool | None


@dataclass(frozen=True)
class ModelString:
    """Where a backbone comes from, its name there, and the arguments it is made with."""

    library: Library
    name: str
    arguments: tuple[tuple[str, Argument], ...] = ()

    @classmethod
    def parse(cls, text: str) -> ModelString:
        """Read a MODEL string.

        Raises:
            ComposerError: it is none, or of a kind that is not known.
        """
        where, _, query = text.partition("?")
        arguments = tuple(
            (key, resolve_scalar(value)) for key, value in parse_qsl(query, keep_blank_values=True)
        )
        prefix, colon, name = where.rpartition(":")
        if not colon:
            return cls("timm", _named(where, text), arguments)
        if prefix == "timm":
            return cls("timm", _named(name, text), arguments)
        if prefix == "torchvision":
            return cls("torchvision", _named(name, text), arguments)
        if prefix.endswith(".py"):
            return cls("file", where, arguments)
        if prefix and all(part.isidentifier() for part in prefix.split(".")):
            return cls("module", where, arguments)
        raise error("unknown-backbone", f"{text!r} names no backbone", FORMS)

    @property
    def short(self) -> str:
        """A word for a folder's name."""
        word = self.name.rpartition(":")[2] or self.name
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in word)

    def __str__(self) -> str:
        query = "&".join(f"{key}={_shown(value)}" for key, value in self.arguments)
        prefix = "torchvision:" if self.library == "torchvision" else ""
        return f"{prefix}{self.name}{'?' if query else ''}{query}"


FORMS = (
    "write a timm name (resnet50), torchvision:resnet50, package.module:factory, "
    "path/to/file.py:factory, or a folder that 'composer insert' wrote"
)


def _named(name: str, text: str) -> str:
    if not name:
        raise error("unknown-backbone", f"{text!r} names no backbone", FORMS)
    return name


def _shown(value: Argument) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
