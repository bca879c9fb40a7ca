"""Where everything in a picture is: the boxes, the groups, and the way of each link; in points."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from composer.drawing.diagram import Diagram
from composer.drawing.dot import Place, dot
from composer.drawing.engine import run
from composer.drawing.frame import Frame, heading_of
from composer.drawing.theme import THEMES

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
class Heading:
    """Where the heading of a group begins, and whether a link passes there."""

    x: float
    y: float
    crossed: bool


@dataclass(frozen=True)
class Layout:
    """The places in one picture, y downwards; the boxes by name, the rest in its own order."""

    width: float
    height: float
    boxes: dict[str, Rect]
    groups: tuple[Rect, ...]
    headings: tuple[Heading, ...]
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class _Curve:
    """Places along a link, and how high and how low it comes."""

    points: list[Point]
    top: float
    bottom: float

    @classmethod
    def of(cls, way: Way) -> _Curve:
        points = list(_along(way.points))
        heights = [y for _, y in points]
        return cls(points, min(heights), max(heights))

    def crossed(self, top: float, bottom: float) -> list[float]:
        """Return where across the link passes between two heights."""
        if self.bottom < top or self.top > bottom:
            return []
        found: list[float] = []
        for (x0, y0), (x1, y1) in pairwise(self.points):
            if max(y0, y1) >= top and min(y0, y1) <= bottom:
                found += [x0, x1]
        return found


def lay_out(diagrams: Sequence[Diagram]) -> list[Layout]:
    """Return the places in each of some pictures, whose closed groups are boxes already.

    A heading that links would cross at the top of its group goes to the bottom, or beside the
    first boxes.

    Raises:
        MissingPartError: there is no engine.
        ComposerError: it fails.
    """
    found = _lay_out([(diagram, {}) for diagram in diagrams])
    crossed = [number for number, layout in enumerate(found) if _crossings(layout)]
    places: tuple[Place, ...] = ("bottom", "beside")
    tries = [
        (number, {n: place for n, h in enumerate(found[number].headings) if h.crossed})
        for number in crossed
        for place in places
    ]
    tried = _lay_out([(diagrams[number], headings) for number, headings in tries])
    for (number, _), layout in zip(tries, tried, strict=True):
        if _crossings(layout) < _crossings(found[number]):
            found[number] = layout
    return found


def _crossings(layout: Layout) -> int:
    return sum(heading.crossed for heading in layout.headings)


def _lay_out(wanted: Sequence[tuple[Diagram, Mapping[int, Place]]]) -> list[Layout]:
    if not wanted:
        return []
    theme = THEMES["paper"]
    texts = run("\n".join(dot(diagram, theme, False, headings) for diagram, headings in wanted))
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(texts):
        graph, at = decoder.raw_decode(texts, at)
        found.append(graph)
        at += len(texts[at:]) - len(texts[at:].lstrip())
    return [_read(diagram, graph) for (diagram, _), graph in zip(wanted, found, strict=True)]


def _read(diagram: Diagram, graph: dict[str, Any]) -> Layout:
    left, low, right, high = map(float, graph["bb"].split(","))
    by_id = {item["id"]: item for item in graph.get("objects", []) if "id" in item}
    edges = {edge["id"]: edge for edge in graph.get("edges", [])}

    def place(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x - left, high - y

    def box(item: dict[str, Any]) -> Rect:
        x, y = place(item["pos"])
        width, height = float(item["width"]) * 72, float(item["height"]) * 72
        return Rect(x - width / 2, y - height / 2, width, height)

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
    curves = [_Curve.of(way) for way in ways]
    groups, headings = [], []
    for number, group in enumerate(diagram.groups):
        item = by_id[f"group{number}"]
        x0, y0, x1, y1 = map(float, item["bb"].split(","))
        rect = Rect(x0 - left, high - y1, x1 - x0, y1 - y0)
        groups.append(rect)
        if beside := by_id.get(f"heading{number}"):
            own = box(beside)
            headings.append(Heading(own.x, own.y, crossed=False))
        else:
            headings.append(_heading(heading_of(group), rect, place(item["lp"])[1], curves))
    boxes = {one.name: box(by_id[f"box{number}"]) for number, one in enumerate(diagram.boxes)}
    return Layout(right - left, high - low, boxes, tuple(groups), tuple(headings), tuple(ways))


def _heading(frame: Frame, rect: Rect, middle: float, curves: Sequence[_Curve]) -> Heading:
    """Return where a heading stands in the strip that is kept for it: where no link passes."""
    y = middle - frame.height / 2
    passing = [curve.crossed(y, y + frame.height) for curve in curves]
    crossing = sorted((min(xs) - 4, max(xs) + 4) for xs in passing if xs)
    first, last = rect.x + 6, rect.x + rect.width - 4 - frame.width
    free = [
        x
        for x in (first, *(end for _, end in crossing))
        if first <= x <= last
        and not any(begin < x + frame.width and end > x for begin, end in crossing)
    ]
    return Heading(free[0] if free else first, y, crossed=not free)


def _along(points: tuple[Point, ...], steps: int = 12) -> Iterator[Point]:
    """Yield places along a Bézier spline."""
    for begin in range(0, len(points) - 3, 3):
        corners = points[begin : begin + 4]
        for step in range(steps + 1):
            t = step / steps
            s = 1 - t
            weights = (s**3, 3 * s * s * t, 3 * s * t * t, t**3)
            x, y = (
                sum(w * corner[axis] for w, corner in zip(weights, corners, strict=True))
                for axis in (0, 1)
            )
            yield x, y
