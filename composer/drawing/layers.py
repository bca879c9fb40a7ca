"""The layout of a picture without any engine: boxes in layers, each below what it reads.

The steps, each in its own file of `layered`: how far down each box is (`ranks`); what is in each
row (`rows`), in which order (`order`, `headings`), how far right (`columns`); and the ways of the
links (`ways`).
"""

from __future__ import annotations

from composer.drawing.diagram import Diagram
from composer.drawing.layered.columns import columns_of
from composer.drawing.layered.headings import placed_rows
from composer.drawing.layered.rows import Rows
from composer.drawing.layered.ways import Placed, ways_of
from composer.drawing.layout import Heading, Layout, Rect

#: In points: what is free above a row of each sort; between a border and a box or a heading; what
#: a bend adds.
ABOVE = {"box": 13.0, "label": 6.0, "heading": 8.0}
BORDER, HEADED = 8.0, 3.0
BEND, MOST_OF_BENDS = 0.09, 30.0


def layers(diagram: Diagram) -> Layout:
    """Return the places in a picture whose closed groups are boxes already; in points.

    No two boxes overlap; the rectangle of a group holds its own boxes and no others; links go
    down, beside all boxes, but for those that close a cycle.
    """
    rows = placed_rows(diagram)
    x = columns_of(rows)
    top, bottom = _heights(rows, x)
    boxes = {}
    for name, number in rows.boxes.items():
        leaf = rows.leaves[number]
        middle = (top[leaf.row] + bottom[leaf.row]) / 2
        left = leaf.left
        boxes[name] = Rect(x[number] - left, middle - leaf.height / 2, 2 * left, leaf.height)
    ways = ways_of(diagram, rows, Placed(x, top, bottom, boxes))
    above, below = _borders(rows, 0), _borders(rows, 1)
    groups: list[Rect] = []
    headings: list[Heading] = []
    for number, (left_side, right_side) in enumerate(rows.borders):
        first, last = rows.spans[number]
        x0, x1 = x[left_side[0]], x[right_side[0]]
        y0, y1 = top[first] - above[number], bottom[last] + below[number]
        groups.append(Rect(x0, y0, x1 - x0, y1 - y0))
        leaf = rows.leaves[rows.headings[number]]
        at = x[rows.headings[number]] - leaf.left, bottom[leaf.row] - leaf.height
        headings.append(Heading(*at, crossed=False))
    width = max((x[n] + leaf.right for n, leaf in enumerate(rows.leaves)), default=0.0)
    height = max([0.0, *bottom, *(rect.y + rect.height for rect in groups)])
    return Layout(width, height, boxes, tuple(groups), tuple(headings), ways)


def _heights(rows: Rows, x: list[float]) -> tuple[list[float], list[float]]:
    """Return where each row begins and ends."""
    bends = [0.0] * len(rows.rows)
    around = [0.0] * (len(rows.rows) + 1)  # what the borders between two rows need
    for segment in rows.segments:
        row = rows.leaves[segment.lower].row
        bends[row] = max(bends[row], abs(x[segment.upper] - x[segment.lower]))
    above, below = _borders(rows, 0), _borders(rows, 1)
    for shift, needed in ((0, above), (1, below)):
        most = dict.fromkeys(range(len(around)), 0.0)
        for span, need in zip(rows.spans, needed, strict=True):
            most[span[shift] + shift] = max(most[span[shift] + shift], need)
        around = [one + most[row] for row, one in enumerate(around)]
    top: list[float] = []
    bottom: list[float] = []
    y = 0.0
    for number, members in enumerate(rows.rows):
        leaves = [rows.leaves[one] for one in members]
        sorts = {leaf.sort for leaf in leaves}
        sort = next((one for one in ("heading", "box") if one in sorts), "label")
        y += around[number] + min(bends[number] * BEND, MOST_OF_BENDS)
        y += ABOVE[sort] if number else 0.0
        top.append(y)
        y += max(leaf.height for leaf in leaves)
        bottom.append(y)
    return top, bottom


def _borders(rows: Rows, side: int) -> list[float]:
    """Return how far above its first row (0) or below its last (1) the border of each group is."""
    found = [0.0] * len(rows.spans)
    for number in reversed(range(len(found))):
        leaf = rows.leaves[rows.headings[number]]
        row = rows.spans[number][side]
        found[number] += HEADED if leaf.row == row else BORDER
        for outer in leaf.home[-2:-1]:
            if rows.spans[outer][side] == row:
                found[outer] = max(found[outer], found[number])
    return found
