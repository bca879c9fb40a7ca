"""The layout without an engine: what never overlaps, what goes down, what stays inside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import combinations

import diagrams
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.drawing.diagram import Box, Diagram, Group, Link
from composer.drawing.frame import frame_of, heading_of, label_of
from composer.drawing.layers import layers
from composer.drawing.layout import Layout, Point, Rect, Way

NEAR = 0.01

PICTURES = {
    "one box": diagrams.ONE, "se": diagrams.SE, "all": diagrams.ALL, "cycle": diagrams.CYCLE,
    "woven": diagrams.WOVEN, "hostile": diagrams.hostile(), "large": diagrams.large(60),
    "nothing": Diagram("nothing", (), (), ()),
}  # fmt: skip


def overlap(a: Rect, b: Rect) -> bool:
    across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    return across > NEAR and min(a.y + a.height, b.y + b.height) - max(a.y, b.y) > NEAR


def holds(outer: Rect, inner: Rect, by: float = -NEAR) -> bool:
    return (
        outer.x + by <= inner.x
        and outer.y + by <= inner.y
        and outer.x + outer.width - by >= inner.x + inner.width
        and outer.y + outer.height - by >= inner.y + inner.height
    )


def along(way: Way, steps: int = 8) -> Iterator[Point]:
    """Yield places along the curve of a link, up to its tip."""
    for at in range(0, len(way.points) - 1, 3):
        corners = way.points[at : at + 4]
        for step in range(steps + 1):
            t = step / steps
            weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3)
            x, y = (sum(w * p[k] for w, p in zip(weights, corners, strict=True)) for k in (0, 1))
            yield x, y
    if way.tip is not None:
        yield way.tip


def inside(point: Point, rect: Rect, by: float = 0.6) -> bool:
    """Return whether a place is in a box; a square one is a circle."""
    x, y = abs(point[0] - rect.x - rect.width / 2), abs(point[1] - rect.y - rect.height / 2)
    if rect.width == rect.height:
        return (x * x + y * y) ** 0.5 < rect.width / 2 - by
    return x < rect.width / 2 - by and y < rect.height / 2 - by


def members(group: Group) -> Iterator[str]:
    for item in group.items:
        yield from [item.name] if isinstance(item, Box) else members(item)


def texts(diagram: Diagram, layout: Layout) -> Iterator[Rect]:
    """Yield where headings and labels are written."""
    for group, heading in zip(diagram.groups, layout.headings, strict=True):
        frame = heading_of(group)
        yield Rect(heading.x, heading.y, frame.width, frame.height)
    for link, way in zip(diagram.links, layout.ways, strict=True):
        assert bool(link.label and link.source != link.target) == (way.label is not None)
        if way.label is not None:
            frame = label_of(link)
            x, y = way.label[0] - frame.width / 2, way.label[1] - frame.height / 2
            yield Rect(x, y, frame.width, frame.height)


def check(diagram: Diagram) -> None:
    layout = layers(diagram)
    boxes = layout.boxes
    assert set(boxes) == {box.name for box in diagram.boxes}
    for box in diagram.boxes:
        frame, rect = frame_of(box), boxes[box.name]
        assert (rect.width, rect.height) == pytest.approx((frame.width, frame.height))
    written = list(texts(diagram, layout))
    for a, b in combinations([*boxes.values(), *written], 2):
        assert not overlap(a, b)

    every = [*boxes.values(), *layout.groups, *written]
    assert layout.width < 80 + sum(rect.width + 80 for rect in every)
    page = Rect(0, 0, layout.width, layout.height)
    groups = list(zip(diagram.groups, layout.groups, strict=True))
    assert all(holds(page, rect) for rect in every)
    for (group, rect), heading in zip(groups, written, strict=False):
        own = set(members(group))
        assert holds(rect, heading)
        for name, place in boxes.items():
            assert holds(rect, place, by=3) if name in own else not overlap(rect, place)
    for (a, rect), (b, other) in combinations(groups, 2):  # the outer comes first
        if b in tuple(groups_in(a)):
            assert holds(rect, other, by=2.9)
        else:
            assert not overlap(rect, other)

    graph = nx.DiGraph((k.source, k.target) for k in diagram.links if k.mark != "shared")
    part = {n: k for k, some in enumerate(nx.strongly_connected_components(graph)) for n in some}
    for link, way in zip(diagram.links, layout.ways, strict=True):
        source, target = boxes[link.source], boxes[link.target]
        if link.mark != "shared" and part[link.source] != part[link.target]:
            assert source.y + source.height < target.y
        assert touches(way.points[0], source)
        assert touches(way.tip or way.points[-1], target)
        assert (way.tip is None) == (link.mark == "shared")
        for point in along(way):
            assert not [rect for rect in [*boxes.values(), *written] if inside(point, rect)]


def touches(point: Point, rect: Rect) -> bool:
    """Return whether a place is at the edge of a box; a square one is a circle."""
    x, y = point[0] - rect.x - rect.width / 2, point[1] - rect.y - rect.height / 2
    if rect.width == rect.height:
        return abs((x * x + y * y) ** 0.5 - rect.width / 2) < 0.6
    edge = min(abs(abs(x) - rect.width / 2), abs(abs(y) - rect.height / 2))
    return edge < NEAR and abs(x) < rect.width / 2 + NEAR and abs(y) < rect.height / 2 + NEAR


def groups_in(group: Group) -> Iterator[Group]:
    for item in group.items:
        if isinstance(item, Group):
            yield item
            yield from groups_in(item)


@pytest.mark.parametrize("name", PICTURES)
def test_the_laws_hold(name: str) -> None:
    check(PICTURES[name])


@st.composite
def pictures(draw: st.DrawFn) -> Diagram:
    """Draw boxes in groups, and links, of which some lead back."""
    count = draw(st.integers(1, 12))
    titles = st.sampled_from(["×", "a", "a longer title"])
    lines = st.sampled_from([(), ("x",), ("y" * 20, "z")])
    items: list[Box | Group] = [
        Box(f"b{n}", "layer", draw(titles), draw(lines)) for n in range(count)
    ]
    for number in range(draw(st.integers(0, 4))):
        picked = draw(st.sets(st.integers(0, len(items) - 1), max_size=4))
        within = [item for n, item in enumerate(items) if n in picked]
        items = [item for n, item in enumerate(items) if n not in picked]
        title = draw(st.sampled_from(["g", "a long heading of a group"]))
        made = diagrams.group(f"g{number}", *within, title=title)
        items.insert(draw(st.integers(0, len(items))), made)
    links = []
    for _ in range(draw(st.integers(0, 2 * count))):
        ends = [draw(st.integers(0, count - 1)) for _ in range(2)]
        mark = draw(st.sampled_from([None] * 6 + ["shared", "problem"]))
        if draw(st.integers(0, 9)):
            ends.sort()
        if ends[0] != ends[1] or mark is None:
            label = draw(st.sampled_from([(), (), ("b c",), ("b c h w", "256")]))
            label = () if ends[0] == ends[1] else label
            links.append(Link(f"b{ends[0]}", f"b{ends[1]}", label, draw(st.booleans()), mark))
    return Diagram("drawn", (), tuple(items), tuple(links))


@given(pictures())
@settings(max_examples=400, deadline=None)
def test_the_laws_hold_in_any_picture(diagram: Diagram) -> None:
    check(diagram)


@pytest.mark.parametrize("diagram", [diagrams.SE, diagrams.ALL, diagrams.large(60)])
def test_the_main_road_is_straight(diagram: Diagram) -> None:
    layout = layers(diagram)
    ways = [way for k, way in zip(diagram.links, layout.ways, strict=True) if k.road]
    assert {round(x, 1) for way in ways for x, _ in way.points} == {round(ways[0].points[0][0], 1)}


def test_a_long_picture_takes_a_moment() -> None:
    diagram = diagrams.large(500)
    layers(diagrams.SE)
    begin = time.process_time()
    layout = layers(diagram)
    assert time.process_time() - begin < 3  # 0.3 s on an idle machine
    assert len(layout.boxes) == 500
