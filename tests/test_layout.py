"""The layout: what never overlaps, what goes down, what stays inside, what is straight."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import diagrams
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.drawing.diagram import Box, Diagram, Direction, Group, Link
from composer.drawing.frame import frame_of, label_of
from composer.drawing.layout import Layout, Point, Rect, Way, lay_out
from composer.drawing.picture import drawn

NEAR = 0.3  # Graphviz writes five digits
EDGE = 1.2  # within which Graphviz ends a link at a box

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
    for heading in layout.headings:
        yield Rect(heading.x, heading.y, heading.frame.width, heading.frame.height)
    at = {(k.source, k.label) for k, w in zip(diagram.links, layout.ways, strict=True) if w.label}
    for link, way in zip(diagram.links, layout.ways, strict=True):
        assert not link.label or (link.source, link.label) in at  # one value is told once
        if way.label is not None:
            frame = label_of(link)
            x, y = way.label[0] - frame.width / 2, way.label[1] - frame.height / 2
            yield Rect(x, y, frame.width, frame.height)


def check(diagram: Diagram) -> None:
    (layout,) = lay_out([diagram])
    boxes = layout.boxes
    assert set(boxes) == {box.name for box in diagram.boxes}
    for box in diagram.boxes:
        frame, rect = frame_of(box), boxes[box.name]
        assert (rect.width, rect.height) == pytest.approx((frame.width, frame.height))
    written = list(texts(diagram, layout))
    down = set(downward(diagram.items, diagram))
    sound = len(down) == len(diagram.links)  # else Graphviz turns links around, and is less careful
    solid = [*boxes.values(), *(written if sound else ())]
    for a, b in combinations(solid, 2):
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

    for link, way in zip(diagram.links, layout.ways, strict=True):
        source, target = boxes[link.source], boxes[link.target]
        if id(link) in down:
            assert source.y + source.height < target.y
        assert touches(way.points[0], source)
        assert touches(way.tip or way.points[-1], target)
        assert (way.tip is None) == (link.mark == "shared")
        for point in along(way):
            assert not (sound and [rect for rect in solid if inside(point, rect)])


def downward(items: tuple[Box | Group, ...], diagram: Diagram) -> Iterator[int]:
    """Yield the links that close no circle of boxes and of groups side by side."""
    place = {name: n for n, item in enumerate(items)
             for name in ([item.name] if isinstance(item, Box) else members(item))}  # fmt: skip
    own = [k for k in diagram.links if {k.source, k.target} <= place.keys() and k.mark != "shared"]
    graph = nx.DiGraph((place[k.source], place[k.target]) for k in own)
    part = {n: k for k, some in enumerate(nx.strongly_connected_components(graph)) for n in some}
    yield from (id(k) for k in own if part[place[k.source]] != part[place[k.target]])
    for item in items:
        if isinstance(item, Group):
            yield from downward(item.items, diagram)


def touches(point: Point, rect: Rect) -> bool:
    """Return whether a place is at the edge of a box; a square one is a circle."""
    x, y = point[0] - rect.x - rect.width / 2, point[1] - rect.y - rect.height / 2
    if rect.width == rect.height:
        return abs((x * x + y * y) ** 0.5 - rect.width / 2) < EDGE
    edge = min(abs(abs(x) - rect.width / 2), abs(abs(y) - rect.height / 2))
    return edge < EDGE and abs(x) < rect.width / 2 + EDGE and abs(y) < rect.height / 2 + EDGE


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
    links: list[Link] = []
    for _ in range(draw(st.integers(0, 2 * count))):
        ends = [draw(st.integers(0, count - 1)) for _ in range(2)]
        mark = draw(st.sampled_from([None] * 6 + ["shared", "problem"]))
        if draw(st.integers(0, 9)):
            ends.sort()
        known = any({k.source, k.target} == {f"b{end}" for end in ends} for k in links)
        if not known and (ends[0] != ends[1] or mark is None):
            label = draw(st.sampled_from([(), (), ("b c",), ("b c h w", "256")]))
            # Graphviz may put the label of a link in one row on another label.
            label = () if ends[0] == ends[1] or mark == "shared" else label
            links.append(Link(f"b{ends[0]}", f"b{ends[1]}", label, draw(st.booleans()), mark))
    return Diagram("drawn", (), tuple(items), tuple(links))


@given(pictures())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_laws_hold_in_any_picture(diagram: Diagram) -> None:
    check(diagram)


@pytest.mark.parametrize("diagram", [diagrams.SE, diagrams.ALL, diagrams.large(60)])
def test_the_main_road_is_straight(diagram: Diagram) -> None:
    (layout,) = lay_out([diagram])
    ways = [way for k, way in zip(diagram.links, layout.ways, strict=True) if k.road]
    assert (
        max(x for w in ways for x, _ in w.points) - min(x for w in ways for x, _ in w.points) < EDGE
    )


#: The links of the main road that bend: where it forks, one side has to.
FORKS = {"bam": 1, "sk": 2, "transformer_layer": 2}
FIRST = (
    "se", "se_var1", "se_var2", "se_var3", "ese", "eca", "cbam", "cbam_channel", "cbam_spatial",
    "bam", "ge_theta_minus", "ge_theta", "ge_theta_plus", "sk", "split_attention", "cond_conv",
    "dynamic_conv", "sa", "mhsa", "bot_mhsa", "transformer_layer",
)  # fmt: skip


@pytest.mark.parametrize("direction", ["tb", "lr"])
def test_only_a_fork_bends_the_main_road(direction: Direction) -> None:
    pictures = [drawn(name) for name in FIRST]
    seen = [picture.diagram.opened(picture.opened) for picture in pictures]
    across = 0 if direction == "tb" else 1
    bent = {}
    for name, diagram, layout in zip(FIRST, seen, lay_out(seen, direction), strict=True):
        roads = [way for k, way in zip(diagram.links, layout.ways, strict=True) if k.road]
        places = [[point[across] for point in way.points] for way in roads]
        bent[name] = sum(max(xs) - min(xs) > EDGE for xs in places)
    assert {name: count for name, count in bent.items() if count} == FORKS


def test_titles_are_at_one_place_and_groups_as_wide_as_what_is_in_them() -> None:
    seen = [d.opened(p.opened) for p in map(drawn, ("cbam", "sk")) for d in [p.diagram]]
    for diagram, layout in zip(seen, lay_out(seen), strict=True):
        for group, rect, title in zip(diagram.groups, layout.groups, layout.headings, strict=True):
            assert (title.x - rect.x, title.y - rect.y) == pytest.approx((4, 2))
            boxes = [layout.boxes[name] for name in members(group)]
            links = [w for k, w in zip(diagram.links, layout.ways, strict=True)
                     if {k.source, k.target} <= set(members(group))]  # fmt: skip
            xs = [b.x + b.width for b in boxes] + [w.label[0] + 28 for w in links if w.label]
            assert rect.x + rect.width - max(xs) < 14
