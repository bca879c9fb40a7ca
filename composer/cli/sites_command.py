"""`composer sites MODEL`: the anatomy, and every place something can go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from composer.cli.models import check_model, open_model
from composer.cli.options import json_option
from composer.cli.steps import Steps

if TYPE_CHECKING:
    from composer.rewrite.sites import Spot


@click.command("sites", short_help="Show a backbone's stages and blocks, and what can go where.")
@click.argument("backbone", metavar="MODEL")
@json_option
def command(backbone: str, as_json: bool) -> None:
    """Show the stages and blocks of a backbone, and every place where something can go."""
    from composer.cli.tables import table

    steps = Steps(total=2)
    check_model(backbone)
    with steps.step("making the backbone"):
        from composer.rewrite.sites import sites

        model, _ = open_model(backbone)
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
        click.echo(
            json.dumps(
                {
                    "version": 1,
                    "backbone": backbone,
                    "input": list(found.input_shape),
                    "stages": stages,
                    "convolutions": found.convolutions,
                    "attention_modules": found.attention_modules,
                },
                indent=2,
            )
        )
        return
    click.echo(f"{backbone} on {'×'.join(map(str, found.input_shape))}")
    rows = []
    for stage in found.stages:
        rows.append(_row(f"stage {stage.number}", stage.whole))
        rows += [_row(f"  block {n}", block) for n, block in enumerate(stage.blocks, start=1)]
    click.echo("\n" + table(("", "module", "class", "gives", "positions", ""), rows))
    click.echo(f"\n{found.replaceable}")


def _row(label: str, spot: Spot) -> list[str]:
    gives = "×".join(map(str, (spot.channels, *(spot.size or ())))) if spot.channels else ""
    return [label, spot.path, spot.kind, gives, ", ".join(spot.positions), spot.note or ""]


def _as_json(spot: Spot) -> dict[str, Any]:
    return {
        "path": spot.path,
        "class": spot.kind,
        "channels": spot.channels,
        "size": list(spot.size) if spot.size else None,
        "layout": list(spot.layout) if spot.layout else None,
        "positions": list(spot.positions),
        "note": spot.note,
    }
