"""`composer render SPEC|MODEL|DIR`: a picture, in the format that the file's suffix names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from composer.cli.completing import complete_spec_or_model
from composer.cli.options import json_option, params_of, set_option, size_of, trust_option
from composer.cli.output import say_json, say_line
from composer.cli.steps import Steps
from composer.drawing.diagram import Direction
from composer.drawing.formats import DPI
from composer.drawing.theme import ThemeName

if TYPE_CHECKING:
    from composer.language.expressions import Value


@click.command("render", short_help="Draw a mechanism, or a backbone and what was inserted.")
@click.argument("what", metavar="SPEC|MODEL|DIR", shell_complete=complete_spec_or_model)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="The file to write: .svg .png .pdf .dot .mmd .tex .html; by default ./NAME.svg.",
)
@click.option(
    "--theme",
    type=click.Choice(get_args(ThemeName)),
    default="paper",
    show_default=True,
    help="The colour theme.",
)
@click.option(
    "--depth",
    type=click.IntRange(1),
    metavar="N",
    help="How much is expanded: 1 stages, 2 blocks, 3 their contents, 4 insertions.",
)
@click.option(
    "--expand",
    multiple=True,
    metavar="PATH",
    help="Expand the group at a path, such as layer1.0 or layer1.0.cbam.",
)
@click.option("--before-after", is_flag=True, help="Draw the original backbone beside it.")
@click.option(
    "--beside",
    metavar="MODEL|DIR",
    shell_complete=complete_spec_or_model,
    help="Draw another model, such as another composition, beside it.",
)
@click.option(
    "--direction",
    type=click.Choice(get_args(Direction)),
    default="tb",
    show_default=True,
    help="From top to bottom, or from left to right; not for .html.",
)
@click.option(
    "--width",
    metavar="LENGTH",
    help="Width, such as 8.5cm for a column: text is wrapped, then groups are closed; no text is "
    "below 7 pt. For .svg .png .pdf .tex.",
)
@click.option("--no-title", is_flag=True, help="Omit the title and the lines below it.")
@click.option("--no-sizes", is_flag=True, help="Omit the sizes of values.")
@click.option("--no-legend", is_flag=True, help="Omit the legend.")
@click.option(
    "--channels",
    type=click.IntRange(1),
    metavar="N",
    help="Channels of a spec's input; 256 by default.",
)
@click.option("--size", metavar="H[xW]", help="Size of a spec's input; 14 by default.")
@set_option
@click.option(
    "--input",
    "image",
    metavar="IMAGE",
    help="For a composition: draw what each mechanism attends to on this image.",
)
@click.option(
    "--dpi",
    type=click.IntRange(10, 2400),
    default=DPI,
    show_default=True,
    help="Resolution of a PNG.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@trust_option
@json_option
def command(
    what: str,
    output: str | None,
    theme: ThemeName,
    depth: int | None,
    expand: tuple[str, ...],
    before_after: bool,
    beside: str | None,
    direction: Direction,
    width: str | None,
    no_title: bool,
    no_sizes: bool,
    no_legend: bool,
    channels: int | None,
    size: str | None,
    settings: tuple[str, ...],
    image: str | None,
    dpi: int,
    force: bool,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Draw a spec as its graph of primitives, or a backbone as its stages and blocks.

    A spec with an error is drawn as far as it is known, with the problems in red, and the exit
    status is 1. In a backbone, repeats are one box with ×N, and insertions are highlighted. With
    --input, the gates and the attention of a composition are drawn over an image.
    """
    file = Path(output) if output else Path(f"{_short(what)}.svg")
    height_width = size_of(size) if size is not None else None
    params: dict[str, Value] = params_of(settings, {"": set()})[""] if settings else {}
    with Steps(total=1).step("drawing"):
        from composer.drawing.picture import render

        render(
            what, file, theme=theme, depth=depth, expand=expand, before_after=before_after,
            beside=beside, channels=channels, size=height_width, params=params, dpi=dpi,
            direction=direction, width=width, title=not no_title, sizes=not no_sizes,
            legend=not no_legend, force=force, input=image, trust_code=trust_code,
        )  # fmt: skip
    if as_json:
        form = file.suffix[1:].lower()
        told = {"version": 1, "source": what, "output": str(file), "format": form}
        say_json(told)
    else:
        say_line(f"written to {file}")


def _short(what: str) -> str:
    """Return a word for the picture's name: that of a path, or the short name of a MODEL."""
    from composer.errors import ComposerError
    from composer.models.model_string import ModelString

    path = Path(what)
    try:
        if path.exists() or path.suffix in (".yaml", ".yml"):
            return (path.resolve().name if path.is_dir() else path.stem) or "picture"
        return ModelString.parse(what).short[:80]
    except (OSError, ComposerError):
        return "picture"
