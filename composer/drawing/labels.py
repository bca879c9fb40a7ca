"""The labels of links give way: each is moved off the links that run through it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import ceil, dist, hypot
from typing import TYPE_CHECKING

from composer.drawing.diagram import Diagram, Link
from composer.drawing.frame import label_of
from composer.drawing.text import width

if TYPE_CHECKING:
    from composer.drawing.layout import Layout
    from composer.drawing.sheet import Point, Rect, Way

#: In points: how far a label may move sideways, and up or down; the distance of the places that
#: are tried; that of the points at which a link is seen; the least gap beside a text.
SIDEWAYS, UP, STEP, FINE, GAP = 36, 18, 2, 2.0, 1.5
_MOVES = sorted(
    product(range(-SIDEWAYS, SIDEWAYS + 1, STEP), range(-UP, UP + 1, STEP)),
    key=lambda by: (hypot(*by), by),
)


@dataclass(frozen=True)
class _Area:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Area) -> bool:
        return (
            self.left < other.right and other.left < self.right
            and self.top < other.bottom and other.top < self.bottom
        )  # fmt: skip

    def contains(self, other: _Area) -> bool:
        return (
            self.left <= other.left and other.right <= self.right
            and self.top <= other.top and other.bottom <= self.bottom
        )  # fmt: skip

    def crossed(self, points: list[Point]) -> bool:
        return any(self.left < x < self.right and self.top < y < self.bottom for x, y in points)


def clear_of_links(diagram: Diagram, layout: Layout) -> Layout:
    """Return a layout in which labels have moved off the links that ran through them.

    Graphviz routes links around boxes, but not around the labels of other links. A label moves to
    the nearest free place that is closer to its own link than to any other, if there is one; else
    to the nearest free place; and stays where nothing is free.
    """
    own = {
        number: way.label
        for number, (link, way) in enumerate(zip(diagram.links, layout.ways, strict=True))
        if link.label and way.label is not None
    }
    if not own:
        return layout
    routes = [_points(way) for way in layout.ways]
    around = [_Area(*(f(axis) for f in (min, max) for axis in zip(*points, strict=True)))
              for points in routes]  # fmt: skip
    solid = [_area(rect) for rect in layout.boxes.values()]
    solid += [_Area(one.x, one.y, one.x + one.frame.width, one.y + one.frame.height)
              for one in layout.headings]  # fmt: skip
    groups = [_area(rect) for rect in layout.groups]
    whole = _Area(0, 0, layout.width, layout.height)

    def crossed(text: _Area) -> bool:
        return any(text.meets(near) and text.crossed(points)
                   for near, points in zip(around, routes, strict=True))  # fmt: skip

    def is_free(text: _Area, number: int) -> bool:
        return (
            whole.contains(text)
            and not any(text.meets(one) for one in solid)
            and all(one.contains(text) or not one.meets(text) for one in groups)
            and not any(text.meets(_text(diagram.links[other], at))
                        for other, at in own.items() if other != number)
            and not crossed(text)
        )  # fmt: skip

    for number, (x, y) in own.items():
        link = diagram.links[number]
        if not crossed(_text(link, (x, y))):
            continue
        places = [(x + right, y + down) for right, down in _MOVES]
        free = [at for at in places if is_free(_text(link, at), number)]
        nearest = (at for at in free if _nearest(at, routes) == number)
        own[number] = next(nearest, free[0] if free else (x, y))
    return replace(layout, ways=tuple(replace(way, label=own.get(number, way.label))
                                      for number, way in enumerate(layout.ways)))  # fmt: skip


def _text(link: Link, middle: Point) -> _Area:
    """Return what the text of a label covers, with the gap beside it."""
    frame = label_of(link)
    wide = max(width(row.text, row.size, row.bold) for row in frame.rows) / 2 + GAP
    return _Area(
        middle[0] - wide, middle[1] - frame.height / 2,
        middle[0] + wide, middle[1] + frame.height / 2,
    )  # fmt: skip


def _area(rect: Rect) -> _Area:
    return _Area(rect.x, rect.y, rect.x + rect.width, rect.y + rect.height)


def _nearest(point: Point, routes: list[list[Point]]) -> int:
    """Return the number of the route that is closest to a point."""
    return min(range(len(routes)), key=lambda n: min(dist(point, one) for one in routes[n]))


def _points(way: Way) -> list[Point]:
    """Return points on a link that are close together, to the tip of its arrow."""
    points: list[Point] = []
    for begin in range(0, len(way.points) - 3, 3):
        curve = way.points[begin : begin + 4]
        length = sum(dist(a, b) for a, b in pairwise(curve))
        steps = max(ceil(length / FINE), 1)
        points += [_on(curve, step / steps) for step in range(steps + 1)]
    return [*points, way.tip] if way.tip else points


def _on(curve: tuple[Point, ...], t: float) -> Point:
    """Return a point on a cubic Bézier curve."""
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    return (
        sum(weight * x for weight, (x, _) in zip(weights, curve, strict=True)),
        sum(weight * y for weight, (_, y) in zip(weights, curve, strict=True)),
    )


__all__ = ["clear_of_links"]
