"""What a shell completes: specs, ops and models by name; nothing here imports torch or timm."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


def complete_spec(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Return the specs whose names begin with this, and files."""
    from composer.language.library import shipped_names
    from composer.language.packs import packed_names

    return [_files(begun), *_named(sorted({*shipped_names(), *packed_names()}), begun)]


def complete_op(
    context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Return the ops whose names begin with this, each with its description."""
    if context.params.get("what") != "ops":
        return []
    from composer.primitives import ops

    return [
        CompletionItem(op, help=(primitive.__doc__ or "").splitlines()[0])
        for op, primitive in ops().items()
        if op.startswith(begun)
    ]


def complete_model(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Return the models of timm and torchvision that begin with this, and files."""
    from composer.errors import ComposerError
    from composer.models.names import timm_names, torchvision_names

    names: list[str] = []
    for library, names_of in (("timm", timm_names), ("torchvision", torchvision_names)):
        try:
            found = names_of()
        except ComposerError:  # it is not installed
            continue
        names += found if library == "timm" else []
        names += [f"{library}:{name}" for name in found]
    if ":" not in begun:  # complete the name of the library first
        names = [*(name for name in names if ":" not in name), "timm:", "torchvision:"]
    return [_files(begun), *_named(names, begun)]


def complete_spec_or_model(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Return specs and models: what `render` draws."""
    models = complete_model(_context, _parameter, begun)
    return [*complete_spec(_context, _parameter, begun), *models[1:]]


def complete_code(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Return the layers of timm that begin with this, and files."""
    from composer.errors import ComposerError
    from composer.models.names import timm_layers

    try:
        names = timm_layers()
    except ComposerError:  # it is not installed
        names = []
    return [_files(begun), *_named(names, begun)]


def _named(names: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(begun)]


def _files(begun: str) -> CompletionItem:
    """Return the mark that lets the shell complete files as it does elsewhere."""
    return CompletionItem(begun, type="file")
