"""A piece of a page without the boxes for things outside: its links run to its edges.

The piece has the same width on both sides of the point where its value enters, so that pieces in a
column have one straight line.
"""

from __future__ import annotations

from dataclasses import replace

from composer.drawing.diagram import Diagram
from composer.drawing.layout import Layout, Point, Rect, Way

#: In points: the length of an entering or leaving link.
ABOVE = 20.0


def without_stubs(
    seen: Diagram, layout: Layout, stubs: frozenset[str]
) -> tuple[Diagram, Layout] | None:
    """Return a piece without its stubs, whose links begin and end at the middle of its edges.

    None if more than one value enters it, since these must be distinguished.
    """
    enters = [box.name for box in seen.boxes if box.name in stubs
              and any(link.source == box.name for link in seen.links)]  # fmt: skip
    leaves = [box.name for box in seen.boxes if box.name in stubs and box.name not in enters]
    if len(enters) > 1 or len(leaves) > 1 or not stubs:
        return None
    inside = [r for name, r in layout.boxes.items() if name not in stubs] + [*layout.groups]
    top = min((r.y for r in inside), default=0.0) - ABOVE if enters else 0.0
    bottom = max((r.y + r.height for r in inside), default=0.0)
    bottom = bottom + ABOVE if leaves else layout.height
    middle = _middle(layout.boxes[(enters or leaves)[0]])
    left = max(0.0, layout.width - 2 * middle)
    width = 2 * (left + middle)

    def moved(point: Point) -> Point:
        return point[0] + left, point[1] - top

    def place(rect: Rect) -> Rect:
        return replace(rect, x=rect.x + left, y=rect.y - top)

    ways = []
    for link, way in zip(seen.links, layout.ways, strict=True):
        points = [moved(point) for point in way.points]
        tip = moved(way.tip) if way.tip else None
        if link.source in enters:
            points = _straight((width / 2, 0.0), points[0]) + points
        if link.target in leaves:
            end = (width / 2, bottom - top)
            points = [*points, *_straight(points[-1], end)[1:], end]
            tip = None
        ways.append(Way(tuple(points), tip, moved(way.label) if way.label else None))
    boxes = {name: place(rect) for name, rect in layout.boxes.items() if name not in stubs}
    headings = tuple(replace(one, x=one.x + left, y=one.y - top) for one in layout.headings)
    drawn = replace(seen, items=tuple(item for item in seen.items if item.name not in stubs))
    groups = tuple(map(place, layout.groups))
    return drawn, Layout(width, bottom - top, boxes, groups, headings, tuple(ways))


def _middle(rect: Rect) -> float:
    return rect.x + rect.width / 2


def _straight(begin: Point, end: Point) -> list[Point]:
    """Return a straight Bézier piece: its start and its two inner points."""
    inner = [
        (begin[0] + (end[0] - begin[0]) * t, begin[1] + (end[1] - begin[1]) * t)
        for t in (1 / 3, 2 / 3)
    ]
    return [begin, *inner]
