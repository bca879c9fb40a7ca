"""`composer sites MODEL`: the anatomy, and every place where something can go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from composer.artifact.named import check_model, open_model
from composer.cli.completing import complete_model
from composer.cli.options import at_input_size, input_size_option, json_option, trust_option
from composer.cli.output import say, say_json, say_line
from composer.cli.steps import Steps

if TYPE_CHECKING:
    from composer.surgery.sites import PartPlaces


@click.command("sites", short_help="Show a backbone's stages and blocks, and what can go where.")
@click.argument("backbone", metavar="MODEL", shell_complete=complete_model)
@click.option(
    "--why",
    "path",
    metavar="PATH",
    help="Explain what was seen of one module, and why it is a block or not.",
)
@input_size_option
@trust_option
@json_option
def command(
    backbone: str, path: str | None, input_size: str | None, trust_code: bool, as_json: bool
) -> None:
    """Show the stages and blocks of a backbone, and every place where something can go."""
    from composer.cli.tables import table

    steps = Steps(total=2)
    backbone = at_input_size(backbone, input_size)
    check_model(backbone)
    with steps.step("making the backbone"):
        from composer.surgery.sites import sites, why_of

        model, _ = open_model(backbone, trust_code=trust_code)
    if path is not None:
        with steps.step("looking"):
            reasons = why_of(model, path)
        if as_json:
            said = {"version": 1, "backbone": backbone, "path": path, "why": reasons}
            say_json(said)
        else:
            for line in (path, *(f"  {reason}" for reason in reasons)):
                say_line(line)
        return
    with steps.step("looking"):
        found = sites(model)
    if as_json:
        stages = [
            {
                "number": stage.number,
                **_as_json(stage.whole),
                "blocks": [_as_json(block) for block in stage.blocks],
            }
            for stage in found.stages
        ]
        say_json(
            {
                "version": 1,
                "backbone": backbone,
                "input": list(found.input_shape),
                "stem": _as_json(found.stem) if found.stem else None,
                "stages": stages,
                "head": _as_json(found.head) if found.head else None,
                "convolutions": found.convolutions,
                "attention_modules": found.attention_modules,
            }
        )
        return
    say_line(f"{backbone} on {'×'.join(map(str, found.input_shape))}")
    rows = [
        [label, where, part.kind, part.gives, part.places, part.note or ""]
        for label, where, part in found.rows
    ]
    say("\n" + table(("", "module", "class", "gives", "positions", ""), rows))
    say(f"\n{found.replaceable}")


def _as_json(part: PartPlaces) -> dict[str, Any]:
    return {
        "path": part.path,
        "class": part.kind,
        "channels": part.channels,
        "size": list(part.size) if part.size else None,
        "layout": list(part.layout) if part.layout else None,
        "prefix_tokens": part.prefix_tokens,
        "positions": list(part.positions),
        "branches": [list(children) for children in part.branches],
        "note": part.note,
    }
