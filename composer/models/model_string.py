"""What a user writes for a backbone, taken apart: ``timm:resnet50?num_classes=10``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeGuard
from urllib.parse import quote, unquote

from composer.errors import error
from composer.language.source import resolve_scalar

Library = Literal["timm", "torchvision", "hf", "ultralytics", "file", "module"]
Argument = str | int | float | bool | None | tuple[int | float, ...]
Arguments = tuple[tuple[str, Argument], ...]

#: Arguments that would load weights again whenever a recipe is read.
LOADING = ("pretrained", "pretrained_backbone", "weights", "weights_backbone")


#: The argument that says on which image a model is run: channels, height, width.
INPUT_SIZE = "input_size"


@dataclass(frozen=True)
class ModelString:
    """Where a backbone comes from, its name there, and the arguments it is made with."""

    library: Library
    name: str
    arguments: Arguments = ()

    @classmethod
    def parse(cls, text: str) -> ModelString:
        """Read a MODEL string; what follows a ``?`` goes to the factory as keyword arguments.

        Raises:
            ComposerError: it is not a MODEL string, or of an unknown kind.
        """
        where, mark, query = text.partition("?")
        arguments = tuple(_argument(pair, text) for pair in query.split("&")) if mark else ()
        if where.startswith("hf:"):
            path = _named(where.removeprefix("hf:"), text)
            return cls("hf", path, _without_weights(arguments, text))
        if where.startswith("ultralytics:"):
            path = where.removeprefix("ultralytics:")
            return cls("ultralytics", path, _without_weights(arguments, text))
        prefix, colon, name = where.rpartition(":")
        if not colon or prefix in ("timm", "torchvision"):
            library: Library = "torchvision" if prefix == "torchvision" else "timm"
            return cls(library, _named(name, text), _without_weights(arguments, text))
        if prefix.endswith(".py"):
            return cls("file", where, arguments)
        if prefix and all(part.isidentifier() for part in prefix.split(".")):
            return cls("module", where, arguments)
        raise error("unknown-backbone", f"{text!r} is not a backbone", FORMS)

    def at_size(self, size: tuple[int, ...]) -> ModelString:
        """Return the same backbone, run on an image of (channels, height, width)."""
        return ModelString(self.library, self.name, (*self.arguments, (INPUT_SIZE, size)))

    @property
    def short(self) -> str:
        """A word for a folder's name."""
        word = self.name.rpartition(":")[2] or self.name
        if self.library == "ultralytics":
            word = Path(self.name).stem or "network"
        if self.library == "hf":
            path = Path(self.name)
            folder = path.parent if path.name == "config.json" else path
            word = path.stem if folder.suffix == ".json" else folder.resolve().name or "hf"
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in word)

    def __str__(self) -> str:
        query = "&".join(f"{key}={_shown(value)}" for key, value in self.arguments)
        prefix = f"{self.library}:" if self.library in ("torchvision", "hf", "ultralytics") else ""
        return f"{prefix}{self.name}{'?' if query else ''}{query}"


FORMS = (
    "write a timm name (resnet50), torchvision:resnet50, hf:path/to/config.json, "
    "ultralytics:yolov8n.yaml, package.module:factory, path/to/file.py:factory, or a folder "
    "written by 'composer insert'"
)


def _named(name: str, text: str) -> str:
    if not name:
        raise error("unknown-backbone", f"{text!r} is not a backbone", FORMS)
    return name


def _without_weights(arguments: Arguments, text: str) -> Arguments:
    for key, _ in arguments:
        if key in LOADING:
            raise error(
                "unknown-backbone",
                f"{key!r} in {text!r} would load weights again whenever the recipe is read",
                "for published weights use --pretrained (in Python pretrained=True)",
            )
    return arguments


def _argument(pair: str, text: str) -> tuple[str, Argument]:
    key, _, value = pair.partition("=")
    if not key.isidentifier() or not value:
        raise error(
            "unknown-backbone", f"{pair!r} in {text!r} is not K=V", "write resnet50?num_classes=10"
        )
    return key, value_of(value)


def value_of(text: str) -> Argument:
    """Read a value: ``1,2,3`` is a list of numbers, and ``1,`` one of a single number."""
    parts = text.removesuffix(",").split(",")
    numbers = [n for n in map(resolve_scalar, map(unquote, parts)) if _is_number(n)]
    if "," in text and len(numbers) == len(parts):
        return tuple(numbers)
    return resolve_scalar(unquote(text))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Argument) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) + ("," if len(value) == 1 else "")
    text = quote(str(value), safe="/.,:+-")
    return text.replace(",", "%2C") if isinstance(value_of(text), tuple) else text
