"""`composer show SPEC`: nodes, axes, sizes, parameters, multiply-adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from composer.cli.completing import complete_spec
from composer.cli.options import (
    check_params,
    costs_json_option,
    params_of,
    set_option,
    size_of,
    usage,
)
from composer.cli.output import say, say_document, say_json, say_line
from composer.language.collecting import uncollected

if TYPE_CHECKING:
    from composer.graph.graph import Graph


@click.command("show", short_help="Show a spec's nodes: axes, sizes, parameters, multiply-adds.")
@click.argument("spec", shell_complete=complete_spec)
@click.option("--channels", type=click.IntRange(1), default=256, show_default=True)
@click.option(
    "--size",
    default="14",
    show_default=True,
    metavar="[Dx]H[xW]",
    help="Size of the feature map; t=100 for a signal.",
)
@set_option
@click.option("--code", is_flag=True, help="Also print the Python code of the module.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the text of the spec, unchanged.")
@click.option("--latex", "as_latex", is_flag=True, help="Print the formulas in LaTeX.")
@costs_json_option
@uncollected()
def command(
    spec: str,
    channels: int,
    size: str,
    settings: tuple[str, ...],
    code: bool,
    as_yaml: bool,
    as_latex: bool,
    as_json: bool,
) -> None:
    """Show what a spec becomes for a number of channels and a size of the feature map.

    After the nodes come their formulas, how the cost grows with the sizes, and the receptive field.
    """
    forms = {"--yaml": as_yaml, "--latex": as_latex, "--json": as_json, "--code": code}
    said = [form for form, is_said in forms.items() if is_said]
    if len(said) > 1 and said != ["--json", "--code"]:
        raise usage(f"{said[0]} and {said[1]} exclude each other", "choose one of them")
    if as_yaml:
        from composer.language.library import find_spec

        say_document(find_spec(spec)[0])
        return
    from composer.cli.tables import table
    from composer.errors import counted
    from composer.graph.formula import equations
    from composer.graph.frontend import graph_of, load_spec
    from composer.graph.graph import INPUT
    from composer.graph.growth import growth
    from composer.graph.passes import compile_graph
    from composer.graph.places import places_of
    from composer.graph.receptive import receptive_field, shown
    from composer.graph.sizes import settings_at

    size_of(size)  # refused early if it is not a size
    read = load_spec(spec)
    chosen = params_of(settings, {read.name: set(read.params)})
    check_params([read], chosen)
    params = chosen[read.name]
    lengths = size_of(size, len(places_of(read.input)) or 2)
    at_sizes = settings_at(read, channels, lengths, params)
    graph = compile_graph(graph_of(read, at_sizes), as_written=True)
    told = equations(graph)
    if as_latex:
        from composer.drawing.equations import aligned

        say(aligned(told, {INPUT, *graph.by_name}))
        return
    grown = growth(graph, lengths)
    seen = receptive_field(graph)
    rows = list(_rows(graph, lengths))
    python = _code(graph) if code and not as_json else ""
    total = sum(row.parameters for row in rows), sum(row.flops for row in rows)
    if as_json:
        say_json(
            {
                "version": 1,
                "spec": read.name,
                "title": read.title,
                "source": read.source,
                "channels": channels,
                "size": list(lengths),
                "params": {k: params.get(k, p.default) for k, p in read.params.items()},
                "nodes": [row.as_json() for row in rows],
                "parameters": total[0],
                "flops": total[1],
                "formulas": {one.name: one.formula for one in told},
                "growth": grown.as_json(),
                "receptive_field": seen,
            }
        )
        return
    say_line(f"{read.title or read.name}  ({read.source or 'no source given'})")
    for name, param in read.params.items():
        about = f"  {param.help}" if param.help else ""
        say_line(f"  {name} = {params.get(name, param.default)}{about}")
    cells = [
        [r.node, r.label, " ".join(r.axes), "×".join(map(str, r.sizes)), f"{r.parameters:,}",
         f"{r.flops:,}"]
        for r in rows
    ]  # fmt: skip
    headings = ("node", "does", "axes", "size", "parameters", "multiply-adds")
    say("\n" + table(headings, cells, right=(4, 5)))
    say(f"\n{counted(total[0], 'parameter')}, {total[1]:,} multiply-adds for one image")
    say("\nformulas")
    width = max(len(one.name) for one in told)
    for one in told:
        say_line(f"  {one.name:{width}} = {one.formula}  [{', '.join(one.axes)}]")
    say("\n" + "\n".join(grown.lines()))
    say(f"receptive field: {shown(seen)}")
    for deviation in read.deviations:
        say_line(f"note: {' '.join(deviation.split())}")
    if code:
        say_document(f"{python}\n")


@dataclass(frozen=True)
class _Row:
    """One node: its axes, their sizes, its parameters, its multiply-adds for one image."""

    node: str
    label: str
    axes: tuple[str, ...]
    sizes: tuple[str, ...]
    parameters: int
    flops: int

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "node": self.node,
            "label": self.label,
            "axes": list(self.axes),
            "sizes": [int(s) if s.isdigit() else s for s in self.sizes],
            "parameters": self.parameters,
            "flops": self.flops,
        }


def _rows(graph: Graph, size: tuple[int, ...]) -> Iterator[_Row]:
    """Yield the input and every node, each after what it reads."""
    from composer.graph.costs import node_cost, open_sizes
    from composer.graph.graph import INPUT

    def shown(axes: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return axes.names, tuple(str(size) for _, size in axes.sizes)

    yield _Row(INPUT, "", *shown(graph.input_axes), 0, 0)
    counted_as = open_sizes(graph.spec, size)
    for node in graph.in_order():
        assert node.op is not None and node.axes is not None
        cost = node_cost(graph, node, counted_as)
        yield _Row(node.name, node.op.label(), *shown(node.axes), cost.parameters, cost.flops)


def _code(graph: Graph) -> str:
    """Return the Python of the module, which is made without its weights."""
    import torch

    from composer.lower.build import lower

    with torch.device("meta"):
        return lower(graph).code
