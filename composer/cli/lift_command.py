"""`composer lift MODULE`: a module of torch as a spec, or what of it has no counterpart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from composer.cli.completing import complete_code
from composer.cli.options import json_option, usage
from composer.cli.output import note, say_document, say_json, say_line
from composer.cli.steps import Steps, loading

if TYPE_CHECKING:
    from composer.lifting.lift import Lifted

_AXES = ("b", "c", "h", "w", "n")


@click.command("lift", short_help="Turn a module of torch into a spec that computes the same.")
@click.argument("module", shell_complete=complete_code)
@click.option(
    "--channels",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="N",
    help="Of its input; the class is made for others, too, to see what follows from them.",
)
@click.option(
    "--size", metavar="H[xW]", help="Of the map that it runs on; one that suits by default."
)
@click.option(
    "--layout",
    metavar="AXES",
    help="Of its input: b,c,h,w or b,n,c or b,h,w,c; the first that runs by default.",
)
@click.option(
    "--with",
    "arguments",
    metavar="K=V",
    multiple=True,
    help="An argument of the class, beside the channels; it may follow from them: "
    "--with out_channels=c, --with 'hidden=4 * c'.",
)
@click.option("--name", metavar="NAME", help="Of the spec; the class's by default.")
@click.option("-o", "--output", metavar="FILE", help="Where to: stdout by default.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def command(
    module: str,
    channels: int,
    size: str | None,
    layout: str | None,
    arguments: tuple[str, ...],
    name: str | None,
    output: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a spec that computes what a module does, proven on random weights and inputs.

    MODULE is a class, or a function that makes one: package.module:Class, or file.py:Class. Where
    an operation has no counterpart in the language, all of these are listed, each with its line.

    \b
    composer lift timm.layers:SEModule -o se_module.yaml
    composer lift timm.layers:SEModule --with rd_ratio=0.25 --channels 96
    composer lift mine.py:Gate --layout b,n,c
    """  # noqa: D301
    from composer.cli.options import size_of
    from composer.files import check_file_free, write_file

    grid = None
    if size is not None:
        lengths = size_of(size)
        if len(lengths) != 2:
            raise usage(f"--size {size!r} is not a height and a width", "write --size 14x21")
        grid = (lengths[0], lengths[1])
    order = _layout(layout)
    given = _arguments(arguments)
    if name is not None:
        _check_name(name)
    path = Path(output) if output is not None else None
    if path is not None:
        check_file_free(path, force)
    with loading():
        from composer.lifting.lift import lift
    with Steps(total=1).step("lifting"):
        found = lift(module, channels, size=grid, layout=order, name=name, arguments=given)
    if path is not None:
        write_file(path, lambda place: place.write_text(found.text, encoding="utf-8"), force=force)
    if as_json:
        say_json(_as_json(found, path))
        return
    if path is None:
        say_document(found.text)
    else:
        say_line(f"written to {path}")
    note(_told(found))


def _check_name(name: str) -> None:
    """Refuse what may not be the name of a spec.

    Raises:
        UsageError: with one that may.
    """
    from composer.language.library import shipped_names
    from composer.language.starter import check_spec_name

    if name in shipped_names():
        said = f"--name {name!r} is a shipped spec, which would be read in its place"
        raise usage(said, f"choose another name, such as my_{name}")
    check_spec_name(name)


def _layout(text: str | None) -> tuple[str, ...] | None:
    """Read the axes of the input.

    Raises:
        UsageError: they are none that a module of torch may take.
    """
    if text is None:
        return None
    order = tuple(axis.strip() for axis in text.split(","))
    unknown = [axis for axis in order if axis not in _AXES]
    if unknown or len({*order}) < len(order) or order[0] != "b" or "c" not in order:
        raise usage(
            f"--layout {text!r} is not the layout of an input", "write --layout b,c,h,w or b,n,c"
        )
    return order


def _arguments(settings: tuple[str, ...]) -> dict[str, Any]:
    """Read K=V; a value is a number, a flag, a text, a list 7,7 or an expression over c.

    Raises:
        UsageError: one is not K=V.
    """
    from composer.models.model_string import value_of

    found = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.isidentifier() or not text:
            raise usage(f"--with {setting!r} is not K=V", "write --with num_heads=4")
        found[key] = value_of(text)
    return found


def _as_json(found: Lifted, path: Path | None) -> dict[str, Any]:
    return {
        "version": 1,
        "name": found.name,
        "text": found.text,
        "output": str(path) if path else None,
        "weights": dict(found.weights),
        "difference": found.difference,
        "compared": [
            {
                "channels": one.at.channels, "size": list(one.at.size), "training": one.training,
                "output": one.output, "gradient": one.gradient,
            }
            for one in found.compared
        ],
    }  # fmt: skip


def _told(found: Lifted) -> str:
    """Return in words where the spec was compared with the module."""
    from composer.errors import listing

    places = dict.fromkeys((one.at.channels, one.at.size) for one in found.compared)
    shown = listing([f"{c}×{h}×{w}" for c, (h, w) in places])
    modes = {one.training for one in found.compared}
    mode = "in evaluation and training" if len(modes) > 1 else "in evaluation"
    return (
        f"outputs and gradients are those of the module at {shown} {mode}: "
        f"{found.difference:.1g} apart in float64"
    )
