"""The way of each link: straight past each row, and in one curve from a row to the next.

All curves are between the rows, where no box is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from composer.drawing.diagram import Diagram
from composer.drawing.layered.rows import LOOP, Rows
from composer.drawing.layout import Point, Rect, Way

STUB = 6.0  # how far an arrow's head reaches
APART = 8.0  # between two links at one side of a box
CORNER = 7.0
LOOP_HALF = 5.0


@dataclass(frozen=True)
class Placed:
    """Where all leaves are: how far right, and from where to where each row reaches."""

    x: list[float]
    top: list[float]
    bottom: list[float]
    boxes: dict[str, Rect]


def ways_of(diagram: Diagram, rows: Rows, placed: Placed) -> tuple[Way, ...]:
    """Return the way of each link of a diagram."""
    ports = _ports(rows, placed.x)
    round_ = {
        rows.boxes[box.name] for box in diagram.boxes
        if placed.boxes[box.name].width == placed.boxes[box.name].height
    }  # fmt: skip
    ways = []
    for number, link in enumerate(diagram.links):
        source, target = placed.boxes[link.source], placed.boxes[link.target]
        chain = rows.chains[number]
        label = _label(rows, placed, number)
        if link.source == link.target:
            ways.append(_loop(source))
            continue
        upper, lower = (target, source) if number in rows.turned else (source, target)
        within = rows.leaves[chain[0]].row == rows.leaves[chain[-1]].row
        begin = ports[number, chain[0]], upper.y + upper.height
        end = ports[number, chain[-1]], lower.y + (lower.height if within else 0.0)
        if chain[0] in round_:
            begin = begin[0], upper.y + upper.height - _sagitta(upper, begin[0])
        if chain[-1] in round_:
            dip = _sagitta(lower, end[0])
            end = end[0], end[1] + (-dip if within else dip)
        if within:
            points = _under(begin, end, placed.bottom[rows.leaves[chain[0]].row])
        else:
            points = _down(rows, placed, chain, begin, end)
        ways.append(_way(points, number in rows.turned, link.mark != "shared", label))
    return tuple(ways)


def _way(points: list[Point], turned: bool, arrow: bool, label: Point | None) -> Way:
    if turned:
        points = points[::-1]
    if not arrow:
        return Way(tuple(points), None, label)
    tip, before = points[-1], points[-2]
    down = 1.0 if tip[1] > before[1] else -1.0
    end = tip[0], tip[1] - down * STUB
    *kept, _, _, _ = points
    return Way((*kept, *_straight(kept[-1], end)), tip, label)


def _label(rows: Rows, placed: Placed, number: int) -> Point | None:
    if number not in rows.labels:
        return None
    leaf = rows.leaves[rows.labels[number]]
    x = placed.x[rows.labels[number]] + (leaf.right - leaf.left) / 2
    return x, (placed.top[leaf.row] + placed.bottom[leaf.row]) / 2


def _down(
    rows: Rows, placed: Placed, chain: list[int], begin: Point, end: Point
) -> list[Point]:
    """Return a Bézier spline from box to box, its first and last piece straight."""
    first, last = rows.leaves[chain[0]].row, rows.leaves[chain[-1]].row
    stops = [begin, (begin[0], max(placed.bottom[first], begin[1] + STUB))]
    for leaf in chain[1:-1]:
        row, x = rows.leaves[leaf].row, placed.x[leaf]
        stops += [(x, placed.top[row]), (x, placed.bottom[row])]
    stops += [(end[0], min(placed.top[last], end[1] - STUB)), end]
    joined = [stops[0]]
    for stop, after in zip(stops[1:], [*stops[2:], None], strict=True):
        straight = after is not None and abs(stop[0] - joined[-1][0]) < 0.05
        if not (straight and after is not None and abs(after[0] - stop[0]) < 0.05):
            joined.append(stop)
    points = [joined[0]]
    for (x0, y0), (x1, y1) in pairwise(joined):
        if abs(x0 - x1) < 0.05:
            points += _straight((x0, y0), (x1, y1))
        else:
            middle = (y0 + y1) / 2
            points += [(x0, middle), (x1, middle), (x1, y1)]
    return points


def _under(begin: Point, end: Point, bottom: float) -> list[Point]:
    """Return the way from one box to another of the same row, below those between them."""
    low = bottom + CORNER
    side = CORNER if end[0] > begin[0] else -CORNER
    near, far = (begin[0] + side, low), (end[0] - side, low)
    points = [begin, *_straight(begin, (begin[0], bottom))]
    points += [(begin[0], low), (begin[0], low), near]
    points += _straight(near, far)
    points += [(end[0], low), (end[0], low), (end[0], bottom)]
    return points + _straight((end[0], bottom), end)


def _loop(box: Rect) -> Way:
    """Return the way from a box to itself, out of its right side and back into it."""
    right, middle = box.x + box.width, box.y + box.height / 2
    if box.width == box.height:
        right -= _sagitta(box, box.x + box.width / 2 + LOOP_HALF)
    far = box.x + box.width + LOOP - 2
    begin, end = (right, middle - LOOP_HALF), (right + STUB, middle + LOOP_HALF)
    points = (begin, (far, middle - 3 * LOOP_HALF), (far, middle + LOOP_HALF), end)
    return Way(points, (right, middle + LOOP_HALF), None)


def _straight(a: Point, b: Point) -> list[Point]:
    thirds = [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for t in (1 / 3, 2 / 3)]
    return [*thirds, b]


def _sagitta(circle: Rect, x: float) -> float:
    """Return how far below the top of a circle its line is at a place."""
    radius = circle.width / 2
    off = min(abs(x - circle.x - radius), radius)
    return float(radius - (radius**2 - off**2) ** 0.5)


def _ports(rows: Rows, x: list[float]) -> dict[tuple[int, int], float]:
    """Return where each link leaves or enters a box, by the link and the box's leaf.

    What comes from straight above stands in the middle, the rest on its sides, in order.
    """
    sides: dict[tuple[int, bool], list[tuple[float, int, bool]]] = defaultdict(list)
    for number, chain in enumerate(rows.chains):
        if chain[0] == chain[-1]:
            continue
        within = rows.leaves[chain[0]].row == rows.leaves[chain[-1]].row
        for box, near, below in (
            (chain[0], chain[1], True), (chain[-1], chain[-2], within),
        ):  # fmt: skip
            off = x[near] - x[box]
            if rows.leaves[near].sort == "box":
                off /= 2
            straight = abs(off) < 0.05 and not within
            sides[box, below].append((off, number, straight))
    ports: dict[tuple[int, int], float] = {}
    for (box, _), links in sides.items():
        links.sort()
        room = rows.leaves[box].left - (3.0 if rows.leaves[box].left < 12 else 8.0)
        for number, off in _spread(links, max(room, 0.0)):
            ports[number, box] = x[box] + off
    return ports


def _spread(links: list[tuple[float, int, bool]], room: float) -> list[tuple[int, float]]:
    """Return places so far from the middle at most, apart from each other, near to where wanted."""
    if len(links) == 1:
        off, number, _ = links[0]
        return [(number, off if abs(off) <= room else 0.0)]
    apart = min(APART, 2 * room / (len(links) - 1))
    fixed = next((k for k, link in enumerate(links) if link[2]), None)
    places = [min(max(off, -room), room) for off, _, _ in links]
    if fixed is None:
        for k in range(1, len(places)):
            places[k] = max(places[k], places[k - 1] + apart)
        places[-1] = min(places[-1], room)
        for k in range(len(places) - 2, -1, -1):
            places[k] = min(places[k], places[k + 1] - apart)
    else:
        left, right = fixed, len(places) - 1 - fixed
        apart = min(APART, room / max(left, right, 1))
        places[fixed] = 0.0
        for k in range(fixed + 1, len(places)):
            most = room - apart * (len(places) - 1 - k)
            places[k] = min(max(places[k], places[k - 1] + apart), most)
        for k in range(fixed - 1, -1, -1):
            places[k] = max(min(places[k], places[k + 1] - apart), -room + apart * k)
    return [(number, place) for place, (_, number, _) in zip(places, links, strict=True)]
