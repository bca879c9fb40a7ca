"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from composer.errors import Diagnostic, UsageError
from composer.spec.expressions import Value
from composer.spec.source import resolve_scalar

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")

set_option = click.option(
    "--set",
    "settings",
    metavar="K=V",
    multiple=True,
    help="Another value for a param of the spec; SPEC.K=V for one spec of several.",
)


def size_of(text: str | None) -> tuple[int, int] | None:
    """Read ``14`` or ``14x7``.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (1, 2) or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise usage(f"--size {text!r} is not a size", "write --size 14, or --size 14x7")
    return int(parts[0]), int(parts[-1])


def params_of(settings: tuple[str, ...], specs: dict[str, set[str]]) -> dict[str, dict[str, Value]]:
    """Return the params set for each spec.

    Args:
        settings: what was written: ``reduction=8`` or ``cbam.reduction=8``.
        specs: the params of each spec.

    Raises:
        UsageError: a setting is not K=V, or names a spec that is not inserted.
    """
    found: dict[str, dict[str, Value]] = {name: {} for name in specs}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise usage(f"--set {setting!r} is not K=V", "write --set reduction=8")
        target, dot, inner = key.rpartition(".")
        if dot and target not in specs:
            raise usage(
                f"--set {setting!r} names no spec that is inserted",
                f"the specs are {', '.join(specs)}",
            )
        value = resolve_scalar(text)
        if value is None:
            raise usage(f"--set {setting!r} gives no value", "write --set reduction=8")
        takers = [target] if dot else [n for n, params in specs.items() if inner in params]
        for name in takers or list(specs):  # the spec itself refuses a param that it has not
            found[name][inner] = value
    return found


def usage(message: str, way_out: str | None) -> UsageError:
    """Return a problem with how the command was used."""
    return UsageError(Diagnostic("usage", message, way_out))
