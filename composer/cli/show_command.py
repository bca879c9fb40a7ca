"""`composer show SPEC`: nodes, axes, sizes, parameters, FLOPs."""

from __future__ import annotations

import json

import click

from composer.cli.options import check_params, json_option, params_of, set_option, size_of


@click.command("show", short_help="Show a spec's nodes: axes, sizes, parameters, FLOPs.")
@click.argument("spec")
@click.option("--channels", type=click.IntRange(1), default=256, show_default=True)
@click.option("--size", default="14", show_default=True, metavar="H[xW]")
@set_option
@click.option("--code", is_flag=True, help="Print the Python of the module too.")
@json_option
def command(
    spec: str,
    channels: int,
    size: str,
    settings: tuple[str, ...],
    code: bool,
    as_json: bool,
) -> None:
    """Show what a spec becomes at a number of channels and a size of the map."""
    from composer.cli.tables import table
    from composer.errors import counted
    from composer.graph.frontend import load_spec

    height_width = size_of(size)
    read = load_spec(spec)
    chosen = params_of(settings, {read.name: set(read.params)})
    check_params([read], chosen)
    params = chosen[read.name]
    from composer.measure.nodes import node_costs

    module, rows = node_costs(read, channels, height_width, params)
    total = sum(row.parameters for row in rows), sum(row.flops for row in rows)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": 1,
                    "spec": read.name,
                    "title": read.title,
                    "source": read.source,
                    "channels": channels,
                    "size": list(height_width),
                    "params": {k: params.get(k, p.default) for k, p in read.params.items()},
                    "nodes": [row.as_json() for row in rows],
                    "parameters": total[0],
                    "flops": total[1],
                },
                indent=2,
            )
        )
        return
    click.echo(f"{read.title or read.name}  ({read.source or 'no source given'})")
    for name, param in read.params.items():
        about = f"  {param.help}" if param.help else ""
        click.echo(f"  {name} = {params.get(name, param.default)}{about}")
    cells = [
        [r.node, r.label, " ".join(r.axes), "×".join(map(str, r.sizes)), f"{r.parameters:,}",
         f"{r.flops:,}"]
        for r in rows
    ]  # fmt: skip
    headings = ("node", "does", "axes", "size", "parameters", "multiply-adds")
    click.echo("\n" + table(headings, cells, right=(4, 5)))
    click.echo(f"\n{counted(total[0], 'parameter')}, {total[1]:,} multiply-adds for one image")
    for deviation in read.deviations:
        click.echo(f"note: {' '.join(deviation.split())}")
    if code:
        click.echo(module.code)
