"""`composer lift MODULE`: a torch module as a spec, or what in it has no counterpart."""

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


@click.command("lift", short_help="Turn a torch module into a spec that computes the same.")
@click.argument("module", shell_complete=complete_code)
@click.option(
    "--channels",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    metavar="N",
    help="Channels of its input; other counts are tried to see what depends on them.",
)
@click.option(
    "--size", metavar="H[xW]", help="Size of its feature map; by default one that it accepts."
)
@click.option(
    "--layout",
    metavar="AXES",
    help="Layout of its input: b,c,h,w, b,n,c or b,h,w,c; by default the first that runs.",
)
@click.option(
    "--with",
    "arguments",
    metavar="K=V",
    multiple=True,
    help="An argument of the class besides the channels; it may depend on them: "
    "--with out_channels=c, --with 'hidden=4 * c'.",
)
@click.option("--name", metavar="NAME", help="Name of the spec; by default that of the class.")
@click.option("-o", "--output", metavar="FILE", help="The file to write; stdout by default.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
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
    """Write a spec that computes what a module does, checked on random weights and inputs.

    MODULE is a class, or a function that returns a module: package.module:Class, or file.py:Class.
    Operations without a counterpart in the language are all listed, each with its line.

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
    """Refuse what can't be the name of a spec.

    Raises:
        UsageError: with a name that can.
    """
    from composer.language.library import shipped_names
    from composer.language.starter import check_spec_name

    if name in shipped_names():
        said = f"--name {name!r} is the name of a shipped spec, which would be read instead"
        raise usage(said, f"choose another name, such as my_{name}")
    check_spec_name(name)


def _layout(text: str | None) -> tuple[str, ...] | None:
    """Read the axes of the input.

    Raises:
        UsageError: a torch module can't take these axes.
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
    """Return in words at which sizes the spec was compared with the module."""
    from composer.errors import listing

    places = dict.fromkeys((one.at.channels, one.at.size) for one in found.compared)
    shown = listing([f"{c}×{h}×{w}" for c, (h, w) in places])
    modes = {one.training for one in found.compared}
    mode = "in evaluation and training" if len(modes) > 1 else "in evaluation"
    return (
        f"outputs and gradients match those of the module at {shown} {mode}: "
        f"largest difference {found.difference:.1g} in float64"
    )
