"""`composer list specs|ops|backbones`: what there is."""

from __future__ import annotations

import json
from typing import Any

import click

from composer.cli.options import json_option


@click.command("list", short_help="List specs, ops or backbones.")
@click.argument("what", type=click.Choice(["specs", "ops", "backbones"]))
@json_option
def command(what: str, as_json: bool) -> None:
    """List the shipped specs, the ops of the language, or the backbones' names."""
    rows = {"specs": _specs, "ops": _ops, "backbones": _backbones}[what]()
    if as_json:
        click.echo(json.dumps({"version": 1, what: rows}, indent=2))
        return
    from composer.cli.tables import table

    if what == "backbones":
        for row in rows:
            click.echo(row["name"])
        return
    headings = list(rows[0])
    click.echo(table(headings, [[str(row[h]) for h in headings] for row in rows]))


def _specs() -> list[dict[str, Any]]:
    from composer.graph.frontend import load_spec
    from composer.spec.library import shipped_names

    specs = [load_spec(name) for name in shipped_names()]
    return [
        {
            "name": spec.name,
            "title": spec.title,
            "params": ", ".join(f"{k}={p.default}" for k, p in spec.params.items()),
            "at": spec.insert.at if spec.insert else "",
            "source": spec.source,
        }
        for spec in specs
    ]


def _ops() -> list[dict[str, Any]]:
    from composer.primitives import ops

    return [
        {
            "op": op,
            "does": (primitive.__doc__ or "").splitlines()[0],
            "fields": ", ".join(f for f in primitive.model_fields if f != "op"),
        }
        for op, primitive in ops().items()
    ]


def _backbones() -> list[dict[str, Any]]:
    from composer.backbones.names import timm_names, torchvision_names

    names = [*timm_names(), *(f"torchvision:{name}" for name in torchvision_names())]
    return [{"name": name} for name in names]
