"""Two models side by side, with aligned rows: before and after, or two compositions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from composer.drawing.diagram import Box, Diagram, Group, groups_in

if TYPE_CHECKING:
    from composer.drawing.layout import Layout
    from composer.drawing.sheet import Point, Rect

#: How far before a box a shift starts, in points: at the head of an arrow.
GAP = 8.0
_NEAR = 0.3


@dataclass
class _Side:
    """One of the two: its positions along the picture, and the shifts with their starts."""

    boxes: dict[str, tuple[float, float]]
    starts: dict[str, float]
    shifts: list[tuple[float, float]] = field(default_factory=list)

    def moved(self, place: float) -> float:
        """Return the shifted position."""
        return place + sum(by for since, by in self.shifts if place >= since)

    def may_begin(self, place: float) -> bool:
        """Return whether everything after a position may move away from what is before it."""
        after_the_last = not self.shifts or place > self.shifts[-1][0]
        return after_the_last and not any(a < place < b for a, b in self.boxes.values())


def lined_up(diagram: Diagram, layout: Layout, across: int = 0) -> Layout:
    """Return a layout of two models side by side, in which boxes of the same name are aligned.

    Boxes that both have start at one height, unless something is in the way; only gaps grow.

    Args:
        diagram: the picture; one without two such groups is not changed.
        layout: its layout.
        across: the axis across the picture: 0 where that goes from top to bottom.
    """
    names = [item.name if isinstance(item, Group) else "" for item in diagram.items]
    if names not in (["before/", "after/"], ["left/", "right/"]):
        return layout
    along = 1 - across
    numbers = {group.name: number for number, group in enumerate(diagram.groups)}
    sides = [_side(name, item, layout, along, numbers)
             for name, item in zip(names, diagram.items, strict=True)]  # fmt: skip
    _shift(*sides)

    def side(name: str) -> _Side:
        return sides[0] if name.startswith(names[0]) else sides[1]

    def box(name: str, rect: Rect) -> Rect:
        begin = _of(rect, along)[0]
        by = side(name).moved(begin) - begin
        return replace(rect, y=rect.y + by) if along else replace(rect, x=rect.x + by)

    def group(name: str, rect: Rect) -> Rect:
        first, last = (side(name).moved(place) for place in _of(rect, along))
        if along:
            return replace(rect, y=first, height=last - first)
        return replace(rect, x=first, width=last - first)

    def point(name: str, at: Point) -> Point:
        moved = side(name).moved(at[along])
        return (at[0], moved) if along else (moved, at[1])

    groups = [group(g.name, r) for g, r in zip(diagram.groups, layout.groups, strict=True)]
    outer = [numbers[name] for name in names]
    last = max(_of(groups[number], along)[1] for number in outer)
    for number in outer:  # both end at the same height
        rect = groups[number]
        long = {"height": last - rect.y} if along else {"width": last - rect.x}
        groups[number] = replace(rect, **long)
    headings = []
    for own, heading in zip(diagram.groups, layout.headings, strict=True):
        x, y = point(own.name, (heading.x, heading.y))
        headings.append(replace(heading, x=x, y=y))
    ways = [
        replace(
            way,
            points=tuple(point(link.source, at) for at in way.points),
            tip=point(link.source, way.tip) if way.tip else None,
            label=point(link.source, way.label) if way.label else None,
        )
        for link, way in zip(diagram.links, layout.ways, strict=True)
    ]
    return replace(
        layout,
        boxes={name: box(name, rect) for name, rect in layout.boxes.items()},
        groups=tuple(groups), headings=tuple(headings), ways=tuple(ways),
        **({"height": last} if along else {"width": last}),
    )  # fmt: skip


def _side(
    name: str, item: Box | Group, layout: Layout, along: int, numbers: dict[str, int]
) -> _Side:
    assert isinstance(item, Group)
    boxes = {key.removeprefix(name): _of(rect, along)
             for key, rect in layout.boxes.items() if key.startswith(name)}  # fmt: skip
    inner = [(group.name.removeprefix(name), layout.groups[numbers[group.name]])
             for group in groups_in(item.items)]  # fmt: skip
    starts = {key: begin for key, (begin, _) in boxes.items()}
    starts |= {key: _of(rect, along)[0] for key, rect in inner}
    found = _Side(boxes, starts)
    begin = _of(layout.groups[numbers[name]], along)[0]
    found.shifts.append((float("-inf"), -begin))
    return found


def _shift(before: _Side, after: _Side) -> None:
    """Shift the earlier one of each equal pair, from the first pair to the last."""
    for name in _in_both(before, after):
        late = [side.moved(side.starts[name]) for side in (before, after)]
        early = before if late[0] < late[1] else after
        begin = early.starts[name] - GAP
        if abs(late[0] - late[1]) > _NEAR and early.may_begin(begin):
            early.shifts.append((begin, abs(late[0] - late[1])))


def _in_both(before: _Side, after: _Side) -> Iterator[str]:
    """Yield the names that both have, as far as they are in the same order."""
    reached = float("-inf")
    common = before.starts.keys() & after.starts.keys()
    for name in sorted(common, key=lambda name: (after.starts[name], before.starts[name])):
        if before.starts[name] >= reached:
            reached = before.starts[name]
            yield name


def _of(rect: Rect, along: int) -> tuple[float, float]:
    return (rect.y, rect.y + rect.height) if along else (rect.x, rect.x + rect.width)
