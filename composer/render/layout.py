"""Where everything in a picture is: the boxes, the groups, and the way of each link; in points."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from composer.render.diagram import Diagram
from composer.render.dot import dot
from composer.render.engine import run
from composer.render.theme import THEMES

Point = tuple[float, float]


@dataclass(frozen=True)
class Rect:
    """A rectangle: its left upper corner, and its size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Way:
    """The way of a link: a Bézier spline, the tip of its arrow, and the middle of its label."""

    points: tuple[Point, ...]
    tip: Point | None
    label: Point | None


@dataclass(frozen=True)
class Layout:
    """The places in one picture, y downwards; the boxes by name, the rest in its own order."""

    width: float
    height: float
    boxes: dict[str, Rect]
    groups: tuple[Rect, ...]
    headings: tuple[Point, ...]
    ways: tuple[Way, ...]


def lay_out(diagrams: Sequence[Diagram]) -> list[Layout]:
    """Return the places in each of some pictures, whose closed groups are boxes already.

    Raises:
        MissingPartError: there is no engine.
        ComposerError: it fails.
    """
    theme = THEMES["paper"]
    sources = [dot(diagram, theme, caption=False) for diagram in diagrams]
    texts = run("\n".join(sources))
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(texts):
        graph, at = decoder.raw_decode(texts, at)
        found.append(graph)
        at += len(texts[at:]) - len(texts[at:].lstrip())
    return [_read(diagram, graph) for diagram, graph in zip(diagrams, found, strict=True)]


def _read(diagram: Diagram, graph: dict[str, Any]) -> Layout:
    left, low, right, high = map(float, graph["bb"].split(","))
    by_id = {item["id"]: item for item in graph.get("objects", []) if "id" in item}
    edges = {edge["id"]: edge for edge in graph.get("edges", [])}

    def place(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x - left, high - y

    boxes = {}
    for number, box in enumerate(diagram.boxes):
        item = by_id[f"box{number}"]
        x, y = place(item["pos"])
        width, height = float(item["width"]) * 72, float(item["height"]) * 72
        boxes[box.name] = Rect(x - width / 2, y - height / 2, width, height)
    groups, headings = [], []
    for number, _ in enumerate(diagram.groups):
        item = by_id[f"group{number}"]
        x0, y0, x1, y1 = map(float, item["bb"].split(","))
        groups.append(Rect(x0 - left, high - y1, x1 - x0, y1 - y0))
        headings.append(place(item["lp"]))
    ways = []
    for number, _ in enumerate(diagram.links):
        edge = edges[f"link{number}"]
        tip, points = None, []
        for word in edge["pos"].split(";")[0].split():
            if word.startswith("e,"):
                tip = place(word[2:])
            elif not word.startswith("s,"):
                points.append(place(word))
        ways.append(Way(tuple(points), tip, place(edge["lp"]) if "lp" in edge else None))
    return Layout(right - left, high - low, boxes, tuple(groups), tuple(headings), tuple(ways))
