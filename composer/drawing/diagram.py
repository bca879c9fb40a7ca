"""A picture as a value: boxes, the groups that contain them, and the links between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

#: What a colour stands for; the legend names those in the picture.
Kind = Literal[
    "end", "reduce", "layer", "gate", "reweight", "combine", "plain", "inserted", "problem"
]

#: The direction of a picture: from top to bottom, or from left to right.
Direction = Literal["tb", "lr"]

#: Links of these kinds are dashed: weights that two boxes share; problems.
Mark = Literal["shared", "problem"]


@dataclass(frozen=True)
class Fact:
    """A detail shown on request: ``Fact("axes", "b c h w")``."""

    label: str
    text: str
    code: bool = False  # kept unchanged, line by line


@dataclass(frozen=True)
class Box:
    """One thing in a picture.

    `lines` say what it does and `small` what it costs; `badges` are insertions in it. A `faint`
    one exists, but its value is not used.
    """

    name: str
    kind: Kind
    title: str
    lines: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    badges: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    faint: bool = False
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Group:
    """Things that belong together; the box `closed` replaces them while they are hidden.

    It opens at the depth `level`, or one deeper than its enclosing group.
    """

    name: str
    title: str
    items: tuple[Box | Group, ...]
    closed: Box
    small: tuple[str, ...] = ()
    inserted: bool = False
    level: int | None = None


def closed_name(name: str) -> str:
    """Return the name of the box for a closed group; no path or node has this suffix."""
    return f"{name}."


@dataclass(frozen=True)
class Link:
    """A value that goes from one box to another; the main `road` is drawn bold.

    The last `sizes` lines of its label are sizes.
    """

    source: str
    target: str
    label: tuple[str, ...] = ()
    road: bool = False
    mark: Mark | None = None
    sizes: int = 0


@dataclass(frozen=True)
class Diagram:
    """A picture: its caption, its contents from top to bottom, and remarks below.

    The links name boxes, also those in closed groups. Of equal things only one is drawn: `drawn_as`
    maps the names of the others to it.
    """

    title: str
    caption: tuple[str, ...]
    items: tuple[Box | Group, ...]
    links: tuple[Link, ...]
    notes: tuple[str, ...] = ()
    drawn_as: Mapping[str, str] = field(default_factory=dict)

    @property
    def boxes(self) -> Iterator[Box]:
        """Every box that is not in a closed group, in order."""
        return _boxes(self.items)

    @property
    def groups(self) -> Iterator[Group]:
        """Every group, the outer before the inner."""
        return groups_in(self.items)

    def opened(self, names: frozenset[str]) -> Diagram:
        """Return the picture with only these groups open, if their enclosing groups are.

        Links of a closed group's boxes go to the box that replaces it.
        """
        stands_for: dict[str, str] = {}
        items = tuple(_seen(item, names, stands_for) for item in self.items)
        links: dict[tuple[str, str, Mark | None], Link] = {}
        for link in self.links:
            source = stands_for.get(link.source, link.source)
            target = stands_for.get(link.target, link.target)
            if source == target:
                continue
            moved = replace(link, source=source, target=target)
            known = links.setdefault((source, target, link.mark), moved)
            if known is not moved:
                links[source, target, link.mark] = replace(
                    known, road=known.road or link.road, label=known.label or link.label,
                    sizes=known.sizes if known.label else link.sizes,
                )  # fmt: skip
        return replace(self, items=items, links=tuple(links.values()))

    def without_sizes(self) -> Diagram:
        """Return the picture with no sizes beside its links."""
        links = (
            replace(link, label=link.label[: len(link.label) - link.sizes], sizes=0)
            for link in self.links
        )
        return replace(self, links=tuple(links))

    def to_depth(self, depth: int) -> frozenset[str]:
        """Return the names of the groups that are open at a depth; none at 1."""
        return frozenset(_to_depth(self.items, depth, 2))


def _boxes(items: tuple[Box | Group, ...]) -> Iterator[Box]:
    for item in items:
        if isinstance(item, Box):
            yield item
        else:
            yield from _boxes(item.items)


def groups_in(items: tuple[Box | Group, ...]) -> Iterator[Group]:
    """Yield every group among some items, the outer before the inner."""
    for item in items:
        if isinstance(item, Group):
            yield item
            yield from groups_in(item.items)


def _seen(item: Box | Group, names: frozenset[str], stands_for: dict[str, str]) -> Box | Group:
    if isinstance(item, Box):
        return item
    if item.name in names:
        return replace(item, items=tuple(_seen(i, names, stands_for) for i in item.items))
    stands_for |= {box.name: item.closed.name for box in _boxes(item.items)}
    stands_for |= {group.closed.name: item.closed.name for group in groups_in(item.items)}
    return item.closed


def _to_depth(items: tuple[Box | Group, ...], depth: int, level: int) -> Iterator[str]:
    for item in items:
        if isinstance(item, Group) and depth >= (opens := item.level or level):
            yield item.name
            yield from _to_depth(item.items, depth, opens + 1)
