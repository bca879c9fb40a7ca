"""A diagram as rows of leaves: what takes room from left to right, one row below the other.

A leaf is a box, the heading of a group, the label of a link, or the place at which a long link
passes a row. A group has a leaf at its left and its right border in each row that it reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from composer.drawing.diagram import Diagram, Link
from composer.drawing.frame import frame_of, heading_of, label_of
from composer.drawing.layered.ranks import homes_of, ranks_of

Sort = Literal["box", "passing", "label", "heading", "left", "right"]

#: Where a heading is: above the boxes of its group, below them, or beside the lowest of them.
Where = Literal["above", "below", "beside"]

LOOP = 22.0  # the room of a link from a box to itself, at its right
_BOX, _FOOTING, _LABEL, _HEADING = 0, 1, 2, 3

#: A row's place: the rank that it is in or below, what stands in it, and how deep the group is.
_Key = tuple[int, int, int]


@dataclass(frozen=True)
class Leaf:
    """Something in a row, as far to both sides of its middle as it needs; in points."""

    sort: Sort
    row: int
    left: float
    right: float
    height: float
    home: tuple[int, ...]  # the groups that it is in, the outer first
    road: bool = False


@dataclass(frozen=True)
class Segment:
    """A piece of a link, from a leaf to one in the next row."""

    upper: int
    lower: int
    road: bool = False
    length: int = 1  # of the whole link, in rows
    turns: bool = False  # down to the label of a link within a row


@dataclass
class Rows:
    """All leaves, by number, and how they hang together.

    Attributes:
        leaves: boxes first, in the order of the diagram.
        rows: the leaves of each row, from left to right once they are ordered.
        segments: the pieces of all links, each from a row to the next.
        boxes: the leaf of each box.
        headings: the leaf of each group's heading.
        spans: the first and the last row of each group.
        borders: the leaves at the left and at the right of each group, from top to bottom.
        chains: the leaves of each link, downwards; one that goes up is turned, see `turned`. That
            of a link within a row is its ends, and the leaf of its label below them.
        labels: the leaf of each link's label.
        turned: the links that go up.
    """

    leaves: list[Leaf] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    boxes: dict[str, int] = field(default_factory=dict)
    headings: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    borders: list[tuple[list[int], list[int]]] = field(default_factory=list)
    chains: list[list[int]] = field(default_factory=list)
    labels: dict[int, int] = field(default_factory=dict)
    turned: set[int] = field(default_factory=set)

    def add(self, leaf: Leaf) -> int:
        """Put a leaf at the end of its row; return its number."""
        self.leaves.append(leaf)
        self.rows[leaf.row].append(len(self.leaves) - 1)
        return len(self.leaves) - 1


def rows_of(diagram: Diagram, where: Mapping[int, Where]) -> Rows:
    """Return the rows of a diagram, each in the order of the diagram.

    The heading of a group is above its boxes unless it is said `where` else, by number.
    """
    homes = homes_of(diagram)
    ranks = ranks_of(diagram, homes)
    spans, heading_keys = _spans(homes, ranks, _parents(diagram), where)
    keys: set[_Key] = {(rank, _BOX, 0) for rank in ranks.values()}
    keys |= {*heading_keys}
    footed = {rank for rank, sort, _ in heading_keys if sort == _FOOTING}
    for link in diagram.links:
        upper, lower = sorted((ranks[link.source], ranks[link.target]))
        within = upper == lower and link.source != link.target
        if (link.label and upper < lower) or (within and upper not in footed):
            keys.add((upper, _LABEL, 0))
    row_of = {key: number for number, key in enumerate(sorted(keys))}
    rows = Rows(rows=[[] for _ in row_of])
    rows.spans = [(row_of[first], row_of[last]) for first, last in spans]
    road = {name for link in diagram.links if link.road for name in (link.source, link.target)}
    looped = {link.source for link in diagram.links if link.source == link.target}
    for box in diagram.boxes:
        frame = frame_of(box)
        half, row = frame.width / 2, row_of[ranks[box.name], _BOX, 0]
        right = half + (LOOP if box.name in looped else 0.0)
        on_road = box.name in road
        leaf = Leaf("box", row, half, right, frame.height, homes[box.name], on_road)
        rows.boxes[box.name] = rows.add(leaf)
    for number, (group, parents) in enumerate(zip(diagram.groups, _parents(diagram), strict=True)):
        home = (*parents, number)
        frame = heading_of(group)
        half = frame.width / 2
        first, last = rows.spans[number]
        row = row_of[heading_keys[number]]
        rows.headings.append(rows.add(Leaf("heading", row, half, half, frame.height, home)))
        sides = [
            [rows.add(Leaf(side, row, 0, 0, 0, home)) for row in range(first, last + 1)]
            for side in ("left", "right")
        ]
        rows.borders.append((sides[0], sides[1]))
    for number, link in enumerate(diagram.links):
        label_row = row_of.get((min(ranks[link.source], ranks[link.target]), _LABEL, 0))
        _put_link(rows, number, link, label_row)
    return rows


def _put_link(rows: Rows, number: int, link: Link, label_row: int | None) -> None:
    ends = rows.boxes[link.source], rows.boxes[link.target]
    if rows.leaves[ends[0]].row > rows.leaves[ends[1]].row:
        rows.turned.add(number)
        ends = ends[1], ends[0]
    first, last = (rows.leaves[end] for end in ends)
    if ends[0] == ends[1]:
        rows.chains.append(list(ends))
        return
    within = first.row == last.row
    between = range(first.row + 1, last.row)
    chain = [ends[0]]
    label_row = first.row + 1 if within else label_row
    for row in [first.row + 1] if within else between:
        home = _home(first.home, last.home, row, rows.spans)
        labelled = row == label_row and bool(link.label)
        frame = label_of(link) if labelled else None
        wide, high = (frame.width, frame.height) if frame else (0.0, 0.0)
        left = wide / 2 if within else 0.0
        sort: Sort = "label" if labelled else "passing"
        leaf = rows.add(Leaf(sort, row, left, wide - left, high, home, link.road))
        if labelled:
            rows.labels[number] = leaf
        chain.append(leaf)
    chain.append(ends[1])
    rows.chains.append(chain)
    if within:
        rows.segments += [Segment(end, chain[1], turns=True) for end in ends]
    else:
        length = last.row - first.row
        rows.segments += [Segment(*ends, link.road, length) for ends in pairwise(chain)]


def _home(
    source: tuple[int, ...], target: tuple[int, ...], row: int, spans: list[tuple[int, int]]
) -> tuple[int, ...]:
    """Return the groups inside which a link passes a row: the target's, else the source's."""

    def reached(home: tuple[int, ...]) -> tuple[int, ...]:
        inside = [n for n in home if spans[n][0] <= row <= spans[n][1]]
        return home[: len(inside)]

    return max(reached(target), reached(source), key=len)


def _parents(diagram: Diagram) -> list[tuple[int, ...]]:
    """Return the groups around each group, the outer first."""
    found: list[tuple[int, ...]] = [()] * len(list(diagram.groups))
    numbers = {id(group): number for number, group in enumerate(diagram.groups)}
    for number, group in enumerate(diagram.groups):
        for inner in group.items:
            if id(inner) in numbers:
                found[numbers[id(inner)]] = (*found[number], number)
    return found


def _spans(
    homes: Mapping[str, tuple[int, ...]],
    ranks: Mapping[str, int],
    parents: list[tuple[int, ...]],
    where: Mapping[int, Where],
) -> tuple[list[tuple[_Key, _Key]], list[_Key]]:
    """Return from which row to which each group is, and in which its heading is."""
    members: list[list[int]] = [[] for _ in parents]
    for name, home in homes.items():
        for group in home:
            members[group].append(ranks[name])
    spans: list[tuple[_Key, _Key]] = []
    headings: list[_Key] = []
    for number, around in enumerate(parents):
        first, last = _reach([*around, number], members)
        heading = (first - 1, _HEADING, len(around))
        if members[number] and (place := where.get(number, "above")) != "above":
            heading = (last, _BOX, 0) if place == "beside" else (last, _FOOTING, -len(around))
        inside = [(first, _BOX, 0), (last, _BOX, 0)] if members[number] else []
        spans.append((min([heading, *inside]), max([heading, *inside])))
        headings.append(heading)
    for number in reversed(range(len(parents))):
        for group in parents[number][-1:]:
            (first_row, last_row), inner = spans[group], spans[number]
            spans[group] = min(first_row, inner[0]), max(last_row, inner[1])
    return spans, headings


def _reach(groups: Iterable[int], members: list[list[int]]) -> tuple[int, int]:
    """Return the first and the last rank of the innermost of some groups that is not empty."""
    known = [members[group] for group in groups if members[group]]
    return (min(known[-1]), max(known[-1])) if known else (0, 0)
