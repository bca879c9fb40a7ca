"""The class or factory named by a word, built for any number of channels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from composer.errors import ComposerError, error
from composer.language.expressions import ExpressionError, evaluate, parse
from composer.models.model_string import ModelString
from composer.models.open import named_code, place_of, said

#: Names that libraries give to the parameter for input channels.
_CHANNELS = (
    "channels", "dim", "in_channels", "in_chs", "in_features", "embed_dim", "num_features",
    "in_planes", "inplanes", "planes", "channel", "in_dim", "input_dim", "hidden_dim", "d_model",
    "num_channels", "in_ch", "c", "c1", "width", "inp", "in_channel",
)  # fmt: skip
FORMS = "write package.module:Class or path/to/file.py:Class, such as timm.layers:SEModule"


@dataclass(frozen=True)
class Opened:
    """Builds the module for a number of channels."""

    make: Callable[[int], nn.Module]
    title: str
    source: str
    takes_channels: bool


def open_code(code: Callable[..., nn.Module] | str, arguments: Mapping[str, Any]) -> Opened:
    """Return the builder of a module.

    Raises:
        ComposerError: the code does not exist, or takes other arguments.
    """
    source = "lifted from code"
    if isinstance(code, str):
        where = ModelString.parse(code) if ":" in code else None
        if where is None or where.library not in ("module", "file"):
            raise error("unknown-module", f"{code!r} does not name a class", FORMS)
        arguments = {**dict(where.arguments), **arguments}
        source = f"lifted from {where.name}"
        code = _named_code(where)
    title = getattr(code, "__name__", type(code).__name__)
    factory: Callable[..., nn.Module] = code
    takes = _takes_channels(factory, arguments)

    def make(channels: int) -> nn.Module:
        given = {key: _value(one, channels) for key, one in arguments.items()}
        if takes is not None:
            given[takes] = channels
        return _made(factory, given, title)

    follows = takes is not None or any(_follows(one) for one in arguments.values())
    return Opened(make, title, source, follows)


def _named_code(where: ModelString) -> Callable[..., Any]:
    """Return the object named by a word; it need not be a backbone."""
    try:
        return named_code(where, FORMS, "class or function")
    except ComposerError as failure:
        codes = {"unknown-backbone": "unknown-module", "backbone-failed": "module-failed"}
        raise ComposerError(
            [replace(d, code=codes.get(d.code, d.code)) for d in failure.diagnostics]
        ) from None


def _takes_channels(factory: Callable[..., Any], given: Mapping[str, Any]) -> str | None:
    """Return the parameter for the channels, unless it is given."""
    try:
        found = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return None
    needed = {name for name, it in found.items() if it.default is inspect.Parameter.empty}
    for names in (needed, found):
        for name in _CHANNELS:
            if name in names:
                return None if name in given else name
    for name, parameter in found.items():
        plain = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        if plain and parameter.default is inspect.Parameter.empty and name not in given:
            return name
    return None


def _follows(value: Any) -> bool:
    try:
        return isinstance(value, str) and parse(value).names == {"c"}
    except ExpressionError:
        return False


def _value(value: Any, channels: int) -> Any:
    """Return an argument; an expression over the channels is evaluated."""
    if not _follows(value):
        return value
    found = evaluate(parse(value), {"c": channels})
    if isinstance(found, float) and found == int(found):
        return int(found)
    return found


def _made(factory: Callable[..., Any], given: Mapping[str, Any], title: str) -> nn.Module:
    try:
        module = factory(**given)
    except ComposerError:
        raise
    except (Exception, SystemExit) as failure:
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
        missing = "required positional argument" in str(failure)
        way_out = "give it with --with K=V, such as --with num_heads=4" if missing else None
        raise error(
            "module-failed",
            f"{title}({shown}) cannot be built: {said(failure)}",
            way_out or place_of(failure),
        ) from None
    if not isinstance(module, nn.Module):
        raise error(
            "not-a-module",
            f"{title} returned {type(module).__name__}, not a torch.nn.Module",
            "name a class of modules, or a function that returns one",
        )
    return module
