"""`composer export DIR|SPEC`: a composition or a spec in a format that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from composer.cli.completing import complete_spec
from composer.cli.options import json_option, params_of, set_option, size_of, trust_option, usage
from composer.cli.output import say_json, say_line
from composer.cli.steps import Steps, loading

if TYPE_CHECKING:
    from composer.exporting.exported import Exported

#: The suffix of each format; the formats themselves are known once torch is loaded.
_SUFFIXES = {"python": ".py", "onnx": ".onnx", "pt2": ".pt2", "aoti": ".pt2"}


@click.command("export", short_help="Write a model or a spec as Python, ONNX, pt2 or AOTI.")
@click.argument("what", metavar="DIR|SPEC", shell_complete=complete_spec)
@click.option(
    "--to",
    type=click.Choice(tuple(_SUFFIXES)),
    metavar="FORMAT",
    help="python; onnx; pt2, the file of torch.export; or aoti, the package of "
    "AOTInductor. By default the suffix of FILE decides.",
)
@click.option(
    "-o", "--output", metavar="FILE", help="The file to write; ./NAME.py, .onnx or .pt2 by default."
)
@click.option(
    "--channels",
    type=click.IntRange(1),
    metavar="N",
    help="Channels of a spec's input; 256 by default.",
)
@click.option(
    "--size",
    metavar="[Dx]H[xW]",
    help="Size of a spec's input; 14 by default. t=100 for a signal.",
)
@set_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@trust_option
@json_option
def command(
    what: str,
    to: str | None,
    output: str | None,
    channels: int | None,
    size: str | None,
    settings: tuple[str, ...],
    force: bool,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Write a composition or a mechanism so that it runs without Composer.

    Before the file is moved to its place, a fresh process that can't import Composer runs it and
    compares it with the model. Batch, height and width stay dynamic where the model allows it.

    \b
    composer export se-resnet50 --to onnx
    composer export cbam --to python
    composer export cbam --to pt2 --channels 64 --size 56
    """  # noqa: D301
    if to is None and output is None:
        raise usage("neither --to nor -o gives the format", "write --to python, onnx, pt2 or aoti")
    lengths = size_of(size) if size is not None else None
    path = Path(output or f"{_name(what)}{_SUFFIXES[to or 'onnx']}")
    params = params_of(settings, {"": set()})[""] if settings else {}
    steps = Steps(total=2)
    from composer.files import check_file_free

    check_file_free(path, force)
    with loading():
        from composer.exporting.exported import export
    with steps.step("writing, and running what was written"):
        found = export(
            what, path, to, channels=channels, size=lengths, params=params, force=force,
            trust_code=trust_code,
        )  # fmt: skip
    if as_json:
        say_json(found.as_json())
    else:
        for line in _shown(what, found):
            say_line(line)


def _name(what: str) -> str:
    path = Path(what)
    return path.resolve().name if path.is_dir() else path.stem


def _shown(what: str, found: Exported) -> list[str]:
    from composer.exporting.made import told

    shape = "×".join(map(str, found.shape))
    return [
        f"{what} as {found.format}: {found.bytes:,} bytes, written to {found.file}",
        f"  input       {shape}",
        f"  dynamic     {', '.join(found.dynamic) or 'nothing'}",
        *(f"  fixed       {line}" for line in told(found.fixed)),
        f"  difference  {found.difference:.3g} at most, in a process without Composer",
    ]
