"""`composer compare`: what mechanisms cost in a backbone, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click

from composer.artifact.named import check_model, open_model
from composer.cli.completing import complete_model, complete_spec
from composer.cli.options import (
    at_input_size,
    check_params,
    check_paths,
    check_replacing,
    check_selection,
    costs_json_option,
    input_size_option,
    match_of,
    params_of,
    position_of,
    read_specs,
    replace_option,
    set_option,
    trust_option,
    type_option,
    usage,
)
from composer.cli.output import say, say_json, say_line
from composer.cli.steps import Steps
from composer.language.place import Place

if TYPE_CHECKING:
    from composer.artifact.compare import Cost

MIB = 2**20


@click.command("compare", short_help="Show what mechanisms cost in a backbone, side by side.")
@click.option(
    "--into",
    "backbone",
    required=True,
    metavar="MODEL",
    shell_complete=complete_model,
    help="The backbone: the first row, and the base of the ratios.",
)
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="SPEC",
    shell_complete=complete_spec,
    help="A YAML file or a shipped name; each one is inserted on its own.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="MODEL",
    shell_complete=complete_model,
    help="Another model, unchanged: timm:seresnet50, or a folder written by insert.",
)
@click.option("--at", type=click.Choice(get_args(Place)), help="As in insert, for every --spec.")
@click.option("--position", metavar="residual|input|output|after:NAME", help="Likewise.")
@click.option("--branch", metavar="NAME|N", help="Likewise.")
@click.option("--stages", metavar="N,N..N", help="Likewise.")
@click.option("--blocks", metavar="N,N..N", help="Likewise.")
@click.option("--every", type=click.IntRange(1), metavar="N", help="Likewise.")
@click.option("--select", multiple=True, metavar="PATH", help="Likewise.")
@replace_option
@type_option
@click.option("--match", "matches", multiple=True, metavar="K=V", help="Likewise.")
@set_option
@click.option(
    "--batch",
    "batches",
    default="1",
    show_default=True,
    metavar="N,N",
    help="The batch size; with several, one row for each.",
)
@click.option(
    "--mode",
    type=click.Choice(["inference", "training"]),
    default="inference",
    show_default=True,
    help="Time the forward pass, or forward and backward.",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Time the model under torch.compile(fullgraph=True).",
)
@click.option("--channels-last", is_flag=True, help="Use the channels-last memory format.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Half precision uses autocast.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="How long each model is timed, in seconds.",
)
@input_size_option
@trust_option
@costs_json_option
def command(
    backbone: str,
    specs: tuple[str, ...],
    against: tuple[str, ...],
    at: str | None,
    position: str | None,
    branch: str | None,
    stages: str | None,
    blocks: str | None,
    every: int | None,
    select: tuple[str, ...],
    replace: bool,
    types: tuple[str, ...],
    matches: tuple[str, ...],
    settings: tuple[str, ...],
    batches: str,
    mode: str,
    compiled: bool,
    channels_last: bool,
    device: str,
    dtype: str,
    seconds: float,
    input_size: str | None,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Show what mechanisms cost in a backbone: parameters, multiply-adds, time and memory.

    The first row is the unchanged backbone. The models take turns, on random images.

    \b
    composer compare --into resnet50 --spec se --spec cbam --against timm:seresnet50
    composer compare --into resnet50 --spec eca --batch 1,8 --mode training
    """  # noqa: D301
    if not specs and not against:
        raise usage(
            f"nothing is compared with {backbone}", "use --spec cbam, or --against timm:seresnet50"
        )
    backbone = at_input_size(backbone, input_size)
    against = tuple(at_input_size(word, input_size) for word in against)
    sizes = _batches_of(batches)
    check_selection("--stages", stages)
    check_selection("--blocks", blocks)
    position = position_of(position, branch)
    check_replacing(at, replace, select, types, "paper")
    check_paths(at, select, types)
    match = match_of(matches)
    read = read_specs(specs)
    names = [spec.name for spec in read]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise usage(f"two of the specs are named {twice!r}", "give each a different name")
    params = params_of(settings, {spec.name: set(spec.params) for spec in read})
    check_params(read, params)
    for word in (backbone, *against):
        check_model(word)

    steps = Steps(total=1 + len(read) + 1 + len(against) + len(sizes))
    with steps.step("importing torch"):
        from composer.artifact.compare import Entrant, compare
        from composer.artifact.run import target
        from composer.artifact.running import Running
        from composer.measure.machine import Machine
        from composer.surgery.composition import composed
        from composer.surgery.insert import insert

        place, number = target(device, dtype)
    with steps.step("making the backbone"):
        plain, _ = open_model(backbone, trust_code=trust_code)
        entrants = [Entrant(backbone, "backbone", plain)]
    for spec in read:
        with steps.step(f"inserting {spec.name}"):
            model = insert(
                plain,
                spec,
                at,  # type: ignore[arg-type]
                position=position,
                stages=stages,
                blocks=blocks,
                every=every,
                select=select or None,
                replace=replace,
                type=types or None,
                match=match or None,
                params=params[spec.name],
            )
            sites = len(composed(model).edits[-1].sites)
            entrants.append(Entrant(spec.name, "spec", model, sites))
    for word in against:
        with steps.step(f"making {word}"):
            entrants.append(Entrant(word, "against", open_model(word, trust_code=trust_code)[0]))
    running = Running(mode, compiled, channels_last, place, number, seconds)  # type: ignore[arg-type]
    costs = []
    for size in sizes:
        with steps.step(f"timing batches of {size}"):
            costs += compare(entrants, size, running)
    machine = Machine.here(place)
    if as_json:
        said = {
            "version": 1,
            "machine": machine.as_json(),
            "versions": machine.versions,
            "backbone": backbone,
            "mode": mode,
            "compile": compiled,
            "channels_last": channels_last,
            "device": device,
            "dtype": dtype,
            "rows": [cost.as_json() for cost in costs],
        }
        say_json(said)
        return
    ways = [mode, "compiled" if compiled else "", "channels last" if channels_last else "", dtype]
    say_line(f"{backbone} on {'×'.join(map(str, costs[0].input_shape))}: "
               f"{', '.join(filter(None, ways))}")  # fmt: skip
    say_line(str(machine))
    say("")
    _print(costs)


def _batches_of(text: str) -> list[int]:
    """Read ``8`` or ``1,8``.

    Raises:
        UsageError: it is not of this form.
    """
    words = text.split(",")
    if not all(word.isdecimal() and len(word) < 6 and int(word) > 0 for word in words):
        message = f"--batch {text!r} is not a batch size"
        raise usage(message, "write --batch 8, or --batch 1,8")
    return list(dict.fromkeys(map(int, words)))


def _print(costs: list[Cost]) -> None:
    """Print one row per model, one batch size after another."""
    from composer.cli.tables import table
    from composer.measure.numbers import giga

    headings = (
        "model", "sites", "parameters", "multiply-adds", "batch", "ms", "quartiles", "ratio",
        "images/s", "peak MiB",
    )  # fmt: skip
    rows = []
    for cost in costs:
        other = cost.input_shape != costs[0].input_shape
        size = f" on {'×'.join(map(str, cost.input_shape))}" if other else ""
        first, third = (f"{1000 * quartile:.2f}" for quartile in cost.timing.quartiles)
        rows.append(
            [
                f"{'+ ' if cost.kind == 'spec' else ''}{cost.model}{size}",
                "" if cost.sites is None else str(cost.sites),
                f"{cost.parameters:,}",
                giga(cost.flops),
                str(cost.batch),
                f"{1000 * cost.timing.median:.2f}",
                f"{first}..{third}",
                f"{cost.ratio:.3f}",
                f"{cost.images_per_second:.1f}",
                f"{cost.memory / MIB:.1f}",
            ]
        )
    say(table(headings, rows, right=range(1, len(headings))))
