"""Where the heading of a group stands: at its top, or else at its bottom, where no link passes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from composer.drawing.diagram import Diagram
from composer.drawing.layered.columns import columns_of, distance
from composer.drawing.layered.order import put_in_order
from composer.drawing.layered.rows import Leaf, Rows, Where, rows_of

PLACES: tuple[Where, ...] = ("above", "below", "beside")
_BARE = Leaf("heading", 0, 0, 0, 0, ())


def placed_rows(diagram: Diagram) -> Rows:
    """Return the ordered rows of a diagram, with each heading where there is room for it.

    Above the boxes, between two links, if it fits in there, else below or beside the lowest; where
    it fits in nowhere, at the left above, and the group grows.
    """
    where: dict[int, Where] = {}
    rows, cramped = _ordered(diagram, where)
    for place in PLACES[1:]:
        if not cramped:
            return rows
        where |= dict.fromkeys(cramped, place)
        rows, cramped = _ordered(diagram, where)
    if cramped:
        rows, _ = _ordered(diagram, where | dict.fromkeys(cramped, PLACES[0]))
    return rows


def _ordered(diagram: Diagram, where: Mapping[int, Where]) -> tuple[Rows, frozenset[int]]:
    rows = rows_of(diagram, where)
    put_in_order(rows)
    return rows, _without_room(rows)


def _without_room(rows: Rows) -> frozenset[int]:
    """Move each heading to a place of its row where it fits in; return the groups without one."""
    if not rows.headings:
        return frozenset()
    x = columns_of(rows, bare=True)
    found: set[int] = set()
    for group, heading in enumerate(rows.headings):
        row = rows.rows[rows.leaves[heading].row]
        others = [one for one in row if one != heading and group in rows.leaves[one].home]
        wide = rows.leaves[heading].left + rows.leaves[heading].right
        for before, after in pairwise(others):
            sides = rows.leaves[before], rows.leaves[after]
            gaps = sum(distance(leaf, _BARE) - leaf.right for leaf in sides)
            free = x[after] - sides[1].left - x[before] - sides[0].right
            if free >= wide + gaps or len(others) == 2:
                row.remove(heading)
                row.insert(row.index(after), heading)
                break
        else:
            found.add(group)
    return frozenset(found)
