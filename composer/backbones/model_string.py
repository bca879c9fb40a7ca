"""What a user writes for a backbone, taken apart: ``timm:resnet50?num_classes=10``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from composer.errors import error
from composer.spec.source import resolve_scalar

Library = Literal["timm", "torchvision", "file", "module"]
Argument = str | int | float | bool | None
Arguments = tuple[tuple[str, Argument], ...]


@dataclass(frozen=True)
class ModelString:
    """Where a backbone comes from, its name there, and the arguments it is made with."""

    library: Library
    name: str
    arguments: Arguments = ()

    @classmethod
    def parse(cls, text: str) -> ModelString:
        """Read a MODEL string; what stands behind a ``?`` goes to the factory as keywords.

        Raises:
            ComposerError: it is none, or of a kind that is not known.
        """
        where, mark, query = text.partition("?")
        arguments = tuple(_argument(pair, text) for pair in query.split("&")) if mark else ()
        prefix, colon, name = where.rpartition(":")
        if not colon or prefix in ("timm", "torchvision"):
            library: Library = "torchvision" if prefix == "torchvision" else "timm"
            return cls(library, _named(name, text), _without_weights(arguments, text))
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


def _without_weights(arguments: Arguments, text: str) -> Arguments:
    for key, _ in arguments:
        if key in ("pretrained", "weights"):
            raise error(
                "unknown-backbone",
                f"{key!r} in {text!r} would load weights again whenever the recipe is read",
                "for published weights say --pretrained (in Python pretrained=True)",
            )
    return arguments


def _argument(pair: str, text: str) -> tuple[str, Argument]:
    key, _, value = pair.partition("=")
    if not key.isidentifier() or not value:
        raise error(
            "unknown-backbone", f"{pair!r} in {text!r} is not K=V", "write resnet50?num_classes=10"
        )
    return key, resolve_scalar(unquote(value))


def _shown(value: Argument) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else quote(str(value), safe="/.,:+-")
