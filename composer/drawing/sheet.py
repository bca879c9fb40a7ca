"""One sheet of a picture: what Graphviz places at once, as DOT, and the resulting positions.

A sheet has nodes of a known size, points at its border where values enter and leave, and wires
between these. A node may have ports at positions on its border.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any

import networkx as nx

from composer.drawing.diagram import Direction
from composer.drawing.engine import run
from composer.drawing.frame import label_frame

Point = tuple[float, float]

#: How strongly Graphviz straightens a link: the main road, a chain of boxes beside it, other bold
#: links, and all others.
STRAIGHT, CHAIN, BOLD, PLAIN = 500, 40, 3, 1
_POINTS = 72  # of an inch


@dataclass(frozen=True)
class Rect:
    """A rectangle: its left upper corner, and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Node:
    """A node with a size; its ports by side and value, in points from its upper left corner."""

    width: float
    height: float
    round: bool = False
    ports: Mapping[tuple[str, Hashable], float] = field(default_factory=dict)


#: ``("node", number, port)``; or ``"enter"`` or ``"leave"``, and the number of the point there.
End = tuple[str, int, Any]


@dataclass(frozen=True)
class Wire:
    """A link, or the part of one that is on this sheet.

    `tipped` ones end in an arrow here; `beside` ones don't affect the order of boxes.
    """

    source: End
    target: End
    road: bool = False
    label: tuple[str, ...] = ()
    tipped: bool = True
    beside: bool = False


@dataclass(frozen=True)
class Sheet:
    """What is placed at once; `enters` and `leaves` are the values at its border.

    A `tight` one has narrow gaps.
    """

    direction: Direction
    nodes: tuple[Node, ...]
    enters: tuple[Hashable, ...]
    leaves: tuple[Hashable, ...]
    wires: tuple[Wire, ...]
    tight: bool = False


@dataclass(frozen=True)
class Way:
    """The route of a link: a Bézier spline, the tip of its arrow, and the middle of its label."""

    points: tuple[Point, ...]
    tip: Point | None
    label: Point | None


@dataclass(frozen=True)
class Placed:
    """The places on a sheet, y downwards."""

    width: float
    height: float
    nodes: tuple[Rect, ...]
    enters: dict[Any, Point]
    leaves: dict[Any, Point]
    wires: tuple[Way, ...]


def place_sheets(sheets: Sequence[Sheet]) -> list[Placed]:
    """Return the places on each of some sheets.

    Raises:
        MissingPartError: there is no Graphviz.
        ComposerError: it fails.
    """
    if not sheets:
        return []
    texts = run("\n".join(map(_dot, sheets)))
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(texts):
        graph, at = decoder.raw_decode(texts, at)
        found.append(graph)
        at += len(texts[at:]) - len(texts[at:].lstrip())
    return [_read(sheet, graph) for sheet, graph in zip(sheets, found, strict=True)]


# -------------------------------------------------------------------------------------- to DOT


def _dot(sheet: Sheet) -> str:
    return "\n".join(_lines(sheet))


def _lines(sheet: Sheet) -> Iterator[str]:
    down = sheet.direction == "tb"
    beside = 0.1 if sheet.tight else 0.22 if down else 0.2
    after = 0.15 if sheet.tight else 0.2 if down else 0.25
    yield "digraph {"
    yield f"graph [rankdir={sheet.direction.upper()}, nodesep={beside}, ranksep={after}];"
    yield 'node [shape=box, fixedsize=true, margin=0, label=""]; edge [arrowsize=0.6];'
    for side, points in (("enter", sheet.enters), ("leave", sheet.leaves)):
        if points:
            rank = "source" if side == "enter" else "sink"
            names = " ".join(f"{side}{number};" for number in range(len(points)))
            yield f"{{rank={rank}; node [shape=point, width=0.001]; {names}}}"
    nodes = list(enumerate(sheet.nodes))
    if not down and not sheet.wires:  # from left to right Graphviz puts the first at the bottom
        nodes.reverse()
    for number, node in nodes:
        shape = ", shape=circle" if node.round else ""
        size = f"width={node.width / _POINTS:.4f}, height={node.height / _POINTS:.4f}"
        label = f", label=<{_ported(node, sheet.direction)}>" if node.ports else ""
        yield f"node{number} [{size}{shape}{label}];"
    straight, chains = _straight(sheet.wires), _chains(sheet.wires)
    ins, outs = ("n", "s") if down else ("w", "e")
    for number, wire in enumerate(sheet.wires):
        more = [f"id=wire{number}"]
        weight = STRAIGHT if number in straight else CHAIN if number in chains else PLAIN
        weight = max(weight, BOLD if wire.road else PLAIN)
        more.append(f"weight={weight}")
        if not wire.tipped:
            more.append("dir=none")
        if wire.beside:
            more.append("constraint=false")
        if wire.label:
            frame = label_frame(wire.label)
            more.append(f"label=<{_cells([[(None, ceil(frame.width), ceil(frame.height))]])}>")
        source = _end(sheet, wire.source, "leave", outs)
        side, compass = ("leave", outs) if wire.beside else ("enter", ins)
        target = _end(sheet, wire.target, side, compass)
        yield f"{source} -> {target} [{', '.join(more)}];"
    yield "}"


def _end(sheet: Sheet, end: End, side: str, compass: str) -> str:
    kind, number, value = end
    if kind != "node" or value is None:
        return f"{kind}{number}"
    ports = [key for key in sheet.nodes[number].ports if key[0] == side]
    return f"node{number}:{side}{ports.index((side, value))}:{compass}"


def _ported(node: Node, direction: str) -> str:
    """Return a table as large as a node, with a cell at each of its ports."""
    across, along = node.width, node.height
    if direction == "lr":
        across, along = along, across
    rows = []
    for side in ("enter", "leave"):
        row: list[tuple[str | None, float, float]] = []
        places = [(place, f"{side}{number}") for number, place in
                  enumerate(at for (s, _), at in node.ports.items() if s == side)]  # fmt: skip
        done = 0.0
        for place, name in sorted(places):
            row += [(None, max(place - 1 - done, 0), along / 2), (name, 2, along / 2)]
            done = place + 1
        rows.append([*row, (None, max(across - done, 0), along / 2)])
    return _cells(rows) if direction == "tb" else _cells_across(rows)


def _cells(rows: list[list[tuple[str | None, float, float]]]) -> str:
    """Return rows of cells, each row its own table, so that rows don't affect each other."""
    lines = []
    for row in rows:
        inner = f"<table {_BARE}><tr>{''.join(map(_cell, row))}</tr></table>"
        lines.append(f"<tr><td>{inner}</td></tr>")
    return f"<table {_BARE}>{''.join(lines)}</table>"


def _cells_across(rows: list[list[tuple[str | None, float, float]]]) -> str:
    """Return the same turned: a column for each row."""
    columns = []
    for row in rows:
        turned = "".join(f"<tr>{_cell((name, high, wide))}</tr>" for name, wide, high in row
                         if round(wide) > 0)  # fmt: skip
        columns.append(f"<td><table {_BARE}>{turned}</table></td>")
    return f"<table {_BARE}><tr>{''.join(columns)}</tr></table>"


_BARE = 'border="0" cellborder="0" cellspacing="0" cellpadding="0"'


def _cell(cell: tuple[str | None, float, float]) -> str:
    name, wide, high = cell
    if round(wide) <= 0 or round(high) <= 0:
        return ""
    port = f' port="{name}"' if name else ""
    return f'<td{port} width="{round(wide)}" height="{round(high)}" fixedsize="true"></td>'


def _straight(wires: Sequence[Wire]) -> set[int]:
    """Return the wires of the longest path along the main road: at a fork one side is straight."""
    graph: nx.DiGraph[tuple[str, int]] = nx.DiGraph()
    for number, wire in enumerate(wires):
        ends = wire.source[:2], wire.target[:2]
        if wire.road and not graph.has_edge(*ends):
            graph.add_edge(*ends, number=number)
    if not graph or not nx.is_directed_acyclic_graph(graph):
        return set()
    way = nx.dag_longest_path(graph, weight=None, default_weight=1)
    return {graph.edges[pair]["number"] for pair in pairwise(way)}


def _chains(wires: Sequence[Wire]) -> set[int]:
    """Return the wires that are the only one at both their ends."""
    own = [wire for wire in wires if not wire.beside]
    begins = Counter(wire.source[:2] for wire in own)
    ends = Counter(wire.target[:2] for wire in own)
    return {
        number for number, wire in enumerate(wires)
        if begins[wire.source[:2]] == ends[wire.target[:2]] == 1
    }  # fmt: skip


# ------------------------------------------------------------------------------ results


def _read(sheet: Sheet, graph: dict[str, Any]) -> Placed:
    left, low, right, high = map(float, graph["bb"].split(","))
    by_name = {item["name"]: item for item in graph.get("objects", [])}
    edges = {edge["id"]: edge for edge in graph.get("edges", [])}
    for number, wire in enumerate(sheet.wires):  # the label of a flat link may be outside
        if "lp" in (edge := edges[f"wire{number}"]):
            frame = label_frame(wire.label)
            x, y = map(float, edge["lp"].split(","))
            left, right = min(left, x - frame.width / 2), max(right, x + frame.width / 2)
            low, high = min(low, y - frame.height / 2), max(high, y + frame.height / 2)

    def place(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x - left, high - y

    nodes = []
    for number, node in enumerate(sheet.nodes):
        x, y = place(by_name[f"node{number}"]["pos"])
        nodes.append(Rect(x - node.width / 2, y - node.height / 2, node.width, node.height))
    stubs = [
        {value: place(by_name[f"{side}{number}"]["pos"]) for number, value in enumerate(values)}
        for side, values in (("enter", sheet.enters), ("leave", sheet.leaves))
    ]
    wires = []
    for number in range(len(sheet.wires)):
        edge = edges[f"wire{number}"]
        tip, points = None, []
        for word in edge["pos"].split(";")[0].split():
            if word.startswith("e,"):
                tip = place(word[2:])
            elif not word.startswith("s,"):
                points.append(place(word))
        wires.append(Way(tuple(points), tip, place(edge["lp"]) if "lp" in edge else None))
    return Placed(right - left, high - low, tuple(nodes), stubs[0], stubs[1], tuple(wires))
