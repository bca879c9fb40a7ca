"""The layout of a picture: the boxes, the groups, and the route of each link; in points.

Graphviz places the contents of each group separately, the inner groups before the outer; for its
surroundings a group is one node with a port for each value that enters or leaves. So a group is as
wide as its contents, its title is always at its upper left, and the main road runs straight through
its border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import networkx as nx

from composer.drawing.alongside import lined_up
from composer.drawing.diagram import Box, Diagram, Direction, Group, Link
from composer.drawing.frame import Frame, frame_of, heading_of
from composer.drawing.labels import clear_of_links
from composer.drawing.sheet import Node, Placed, Point, Rect, Sheet, Way, Wire, place_sheets

#: In points: between the border of a group and its contents; between a title and a link.
BORDER, BESIDE_TITLE = 9.0, 6.0
#: A title is not wrapped below this width; the second where gaps are narrow.
NARROWEST_TITLE = 78.0, 58.0


@dataclass(frozen=True)
class Heading:
    """The left edge of a group's title, and how it is wrapped."""

    x: float
    y: float
    frame: Frame


@dataclass(frozen=True)
class Layout:
    """The positions in one picture, y downwards; the boxes by name, the rest in order."""

    width: float
    height: float
    boxes: dict[str, Rect]
    groups: tuple[Rect, ...]
    headings: tuple[Heading, ...]
    ways: tuple[Way, ...]


def lay_out(
    diagrams: Sequence[Diagram], direction: Direction = "tb", tight: bool = False
) -> list[Layout]:
    """Return the layout of each of some pictures, whose closed groups are already boxes.

    Args:
        diagrams: the pictures.
        direction: ``"tb"``, from top to bottom, or ``"lr"``, from left to right.
        tight: whether gaps are narrow.

    Raises:
        MissingPartError: there is no Graphviz.
        ComposerError: it fails.
    """
    plans = [_Plan(diagram, direction, tight) for diagram in diagrams]
    for level in range(max((plan.levels for plan in plans), default=0)):
        wanted = [(plan, part) for plan in plans for part in plan.of_level(level)]
        placed = place_sheets([plan.sheet(part) for plan, part in wanted])
        for (plan, part), found in zip(wanted, placed, strict=True):
            plan.keep(part, found)
    across = 0 if direction == "tb" else 1
    return [
        clear_of_links(plan.diagram, lined_up(plan.diagram, plan.layout(), across))
        for plan in plans
    ]


#: A value that crosses a border: its source box, and the number of the link if that stands for
#: shared weights and not for a value.
_Value = tuple[str, int | None]


@dataclass(frozen=True)
class _Part:
    """A group, or the whole picture, which has no number, with the numbers of its contents."""

    number: int | None
    items: tuple[Box | Group, ...]
    height: int  # in levels above a part without groups


@dataclass(frozen=True)
class _Inside:
    """A group with its contents placed: its size, their origin, and its ports."""

    node: Node
    begins: Point
    heading: Heading | None
    found: Placed


class _Plan:
    def __init__(self, diagram: Diagram, direction: Direction, tight: bool) -> None:
        self.diagram, self.direction, self.tight = diagram, direction, tight
        self.numbers = {id(group): number for number, group in enumerate(diagram.groups)}
        self.parts: list[_Part] = []
        self.homes: dict[str, tuple[int | None, ...]] = {}  # the groups around a box, outer first
        self.inside: dict[int | None, _Inside] = {}
        self.wires: dict[int | None, dict[int, int]] = {}  # by part: the wire of each link
        self.labelled: set[int] = set()  # the links whose wire carries their label
        top = self._part(None, diagram.items, ())
        self.levels = top + 1
        self.by_number = {part.number: part for part in self.parts}
        self.passing: dict[int | None, list[int]] = {part.number: [] for part in self.parts}
        for number, link in enumerate(diagram.links):
            ends = self.homes[link.source], self.homes[link.target]
            shared = _common(*ends)
            for home in {*ends[0][shared - 1 :], *ends[1][shared - 1 :]}:
                self.passing[home].append(number)
        self.beside = set(self._beside())
        self.from_below = {n for n in self.beside if self._enters(n)}

    def _part(
        self, number: int | None, items: tuple[Box | Group, ...], around: tuple[int | None, ...]
    ) -> int:
        """Record a part and those in it, and return the number of levels of groups below it."""
        here, below = (*around, number), -1
        for item in items:
            if isinstance(item, Box):
                self.homes[item.name] = here
            else:
                below = max(below, self._part(self.numbers[id(item)], item.items, here))
        self.parts.append(_Part(number, items, below + 1))
        return below + 1

    def _beside(self) -> Iterator[int]:
        """Yield the links of shared weights that don't affect the order of boxes."""
        for number, link in enumerate(self.diagram.links):
            if link.mark != "shared":
                continue
            source, target = self.homes[link.source], self.homes[link.target]
            part = self.by_number[source[_common(source, target) - 1]]
            graph: nx.DiGraph[int | None] = nx.DiGraph()
            graph.add_nodes_from(range(len(part.items)))
            graph.add_edges_from(
                ends for other in self.passing[part.number]
                if self.diagram.links[other].mark != "shared"
                and None not in (ends := self._ends(part, other))
            )  # fmt: skip
            if source == target or not nx.has_path(graph, *self._ends(part, number)):
                yield number

    def _enters(self, number: int) -> bool:
        """Return whether a link enters a group."""
        link = self.diagram.links[number]
        source, target = self.homes[link.source], self.homes[link.target]
        return _common(source, target) < len(target)

    def of_level(self, level: int) -> Iterator[_Part]:
        return (part for part in self.parts if part.height == level)

    # ------------------------------------------------------------------------------- the sheet

    def _item(self, part: _Part, name: str) -> int | None:
        """Return the item of a part that is or contains a box; None if it is outside."""
        home = self.homes[name]
        if part.number not in home:
            return None
        depth = home.index(part.number)
        inner = home[depth + 1] if depth + 1 < len(home) else None
        for number, item in enumerate(part.items):
            own = item.name == name if isinstance(item, Box) else self.numbers[id(item)] == inner
            if own and isinstance(item, Box) == (depth + 1 == len(home)):
                return number
        raise AssertionError(name)

    def _ends(self, part: _Part, number: int) -> tuple[int | None, int | None]:
        link = self.diagram.links[number]
        return self._item(part, link.source), self._item(part, link.target)

    def _value(self, number: int) -> _Value:
        link = self.diagram.links[number]
        return link.source, number if link.mark == "shared" else None

    def sheet(self, part: _Part) -> Sheet:
        """Return what Graphviz is to place in a part, and record the wire of each link."""
        nodes = [self._node(item) for item in part.items]
        enters: dict[_Value, int] = {}
        leaves: dict[_Value, int] = {}
        wires: dict[tuple[object, ...], Wire] = {}
        number_of: dict[int, int] = {}
        for number in self.passing[part.number]:
            link, value = self.diagram.links[number], self._value(number)
            source, target = self._ends(part, number)
            begin: tuple[str, int, object]
            if source is not None:
                port = None if isinstance(part.items[source], Box) else value
                begin = ("node", source, port)
            elif number in self.from_below:
                begin = ("leave", leaves.setdefault(value, len(leaves)), None)
            else:
                begin = ("enter", enters.setdefault(value, len(enters)), None)
            if target is None:
                end: tuple[str, int, object] = (
                    "leave", leaves.setdefault(value, len(leaves)), None
                )  # fmt: skip
            else:
                port = None if isinstance(part.items[target], Box) else value
                end = ("node", target, port)
            if begin[0] == "leave":  # drawn towards the border that it comes from
                begin, end = end, begin
            whole = source is not None and target is not None
            tipped = end[0] == "node" and end[2] is None and link.mark != "shared"
            label = link.label if whole else ()
            alone = number if whole and begin[2] is None and end[2] is None else None
            key: tuple[object, ...] = (begin, end, link.mark, alone)
            known = wires.get(key)
            if label and known is not None and known.label not in ((), label):
                key = (*key, label)
                known = wires.get(key)
            if label and (known is None or not known.label):
                self.labelled.add(number)
            wires[key] = Wire(
                begin,
                end,
                road=link.road or (known is not None and known.road),
                label=known.label if known is not None and known.label else label,
                tipped=tipped,
                beside=whole and number in self.beside,
            )
            number_of[number] = list(wires).index(key)
        self.wires[part.number] = number_of
        return Sheet(
            self.direction,
            tuple(nodes),
            tuple(enters),
            tuple(leaves),
            tuple(wires.values()),
            self.tight,
        )

    def _node(self, item: Box | Group) -> Node:
        if isinstance(item, Box):
            frame = frame_of(item)
            return Node(frame.width, frame.height, round=frame.sign)
        return self.inside[self.numbers[id(item)]].node

    # ---------------------------------------------------------------------------- results

    def keep(self, part: _Part, found: Placed) -> None:
        """Record the positions in a part, and its size for the enclosing one."""
        if part.number is None:
            self.inside[None] = _Inside(Node(found.width, found.height), (0, 0), None, found)
            return
        group = next(g for g in self.diagram.groups if self.numbers[id(g)] == part.number)
        down = self.direction == "tb"
        across = [x for x, _ in found.enters.values()] if down else []
        least = NARROWEST_TITLE[self.tight]
        left, frame = _titled(group, min(across) if across else None, least)
        top = frame.height + 4
        # Table cells are whole points, so ports must be too, or the main road would bend there.
        x, y = next(iter((found.enters | found.leaves).values()), (0.0, 0.0))
        if down:
            left += ceil(left + x) - left - x
        else:
            top += ceil(top + y) - top - y
        right = ceil(max(left + found.width + BORDER, frame.width + 8))
        bottom = ceil(top + found.height + (BORDER if not down or not found.leaves else 0))
        ports = {}
        for side, stubs in (("enter", found.enters), ("leave", found.leaves)):
            for value, (x, y) in stubs.items():
                ports[side, value] = left + x if down else top + y
        node = Node(right, bottom if part.items else top, ports=ports)
        heading = Heading(4, 2, frame)
        self.inside[part.number] = _Inside(node, (left, top), heading, found)

    def layout(self) -> Layout:
        boxes: dict[str, Rect] = {}
        count = len(self.numbers)
        groups = [Rect(0, 0, 0, 0)] * count
        headings: list[Heading | None] = [None] * count
        corners: dict[int | None, Point] = {}
        self._put(self.by_number[None], 0, 0, boxes, groups, headings, corners)
        ways = tuple(self._way(number, link, corners)
                     for number, link in enumerate(self.diagram.links))  # fmt: skip
        whole = self.inside[None].node
        known = tuple(heading for heading in headings if heading is not None)
        return Layout(whole.width, whole.height, boxes, tuple(groups), known, ways)

    def _put(
        self,
        part: _Part,
        x: float,
        y: float,
        boxes: dict[str, Rect],
        groups: list[Rect],
        headings: list[Heading | None],
        corners: dict[int | None, Point],
    ) -> None:
        inside = self.inside[part.number]
        corners[part.number] = x, y
        if part.number is not None and inside.heading is not None:
            groups[part.number] = Rect(x, y, inside.node.width, inside.node.height)
            own = inside.heading
            headings[part.number] = replace(own, x=x + own.x, y=y + own.y)
        x, y = x + inside.begins[0], y + inside.begins[1]
        for item, rect in zip(part.items, inside.found.nodes, strict=True):
            if isinstance(item, Box):
                boxes[item.name] = Rect(x + rect.x, y + rect.y, rect.width, rect.height)
            else:
                inner = self.by_number[self.numbers[id(item)]]
                self._put(inner, x + rect.x, y + rect.y, boxes, groups, headings, corners)

    def _way(self, number: int, link: Link, corners: dict[int | None, Point]) -> Way:
        """Join the pieces of a link in each part, from the inside out and in again."""
        source, target = self.homes[link.source], self.homes[link.target]
        shared = _common(source, target)
        out, into = list(reversed(source[shared:])), list(target[shared:])
        points: list[Point] = []
        label = None
        tip = None
        for home in [*out, source[shared - 1], *into]:
            inside = self.inside[home]
            spline = inside.found.wires[self.wires[home][number]]
            x, y = corners[home][0] + inside.begins[0], corners[home][1] + inside.begins[1]
            moved = [(x + px, y + py) for px, py in spline.points]
            if home in into and number in self.from_below:
                moved.reverse()
            if home == source[shared - 1] and spline.label is not None and number in self.labelled:
                label = (x + spline.label[0], y + spline.label[1])
            points = _joined(points, moved)
            tip = (x + spline.tip[0], y + spline.tip[1]) if spline.tip else None
        return Way(tuple(points), tip, label)


def _titled(group: Group, enters: float | None, least: float) -> tuple[float, Frame]:
    """Return the left edges of a group's contents and of its title, which no link crosses.

    Args:
        group: the group.
        enters: the x position at which the first link enters from above, if any.
        least: the least width of a title.
    """
    frame = heading_of(group)
    if enters is None:
        return BORDER, frame
    room = BORDER + enters - BESIDE_TITLE - 4
    if frame.width > room:
        frame = heading_of(group, max(room, least))
    return BORDER + max(0.0, frame.width - room), frame


def _common(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> int:
    """Return how many enclosing parts two boxes share."""
    return sum(1 for a, b in zip(one, other, strict=False) if a == b)


def _joined(points: list[Point], more: list[Point]) -> list[Point]:
    """Return two splines as one, joined by a straight piece."""
    if not points:
        return more
    (x0, y0), (x1, y1) = points[-1], more[0]
    if abs(x1 - x0) + abs(y1 - y0) < 0.05:
        return points + more[1:]
    thirds = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in (1 / 3, 2 / 3)]
    return [*points, *thirds, *more]


__all__ = ["Heading", "Layout", "Point", "Rect", "Way", "lay_out"]
