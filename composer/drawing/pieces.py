"""A diagram divided into pieces, so that a page can open and close each group without an engine.

Items in a column or side by side can be placed by the page itself. With more complex links an
engine lays the items out in advance, for some sets of open groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from composer.drawing.diagram import Box, Diagram, Group, Link

MOST_GROUPS = 4  # of a piece with a view for each set of open ones
MOST_BOXES = 2000  # in all views of a piece


@dataclass(frozen=True)
class Chain:
    """Items in a column, with arrows between them, and what enters and leaves."""

    parts: tuple[Part, ...]
    arrows: tuple[Link, ...]
    enters: Link | None
    leaves: Link | None


@dataclass(frozen=True)
class BoxRow:
    """Independent items side by side."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Piece:
    """A piece laid out by the engine: the names of the open groups for each view.

    The smallest view is first. Boxes for things outside are `stubs`.
    """

    diagram: Diagram
    views: tuple[frozenset[str], ...]
    stubs: frozenset[str]


@dataclass(frozen=True)
class Fold:
    """A group that is opened and closed in place."""

    group: Group
    body: Body


Body = Chain | BoxRow | Piece
Part = Box | Fold


def take_apart(diagram: Diagram, opened: frozenset[str] = frozenset()) -> Body:
    """Return a diagram as chains, rows and pieces; each piece has a view with `opened` open."""
    titles = {box.name: box.title for box in diagram.boxes}
    return _body(diagram.items, diagram.links, titles, opened)


def pieces(body: Body) -> Iterator[Piece]:
    """Yield the pieces of a body, also those in its groups, in order."""
    if isinstance(body, Piece):
        yield body
    else:
        for part in body.parts:
            if isinstance(part, Fold):
                yield from pieces(part.body)


def names_within(items: Iterable[Box | Group]) -> Iterator[str]:
    """Yield the names of all boxes, also those in groups."""
    for item in items:
        if isinstance(item, Box):
            yield item.name
        else:
            yield from names_within(item.items)


def _body(
    items: Sequence[Box | Group],
    links: Sequence[Link],
    titles: dict[str, str],
    opened: frozenset[str],
) -> Body:
    items = [_solid(item) for item in items]
    place = {name: n for n, item in enumerate(items) for name in names_within([item])}
    found: dict[tuple[int | None, int | None], list[Link]] = {}
    for link in links:
        found.setdefault((place.get(link.source), place.get(link.target)), []).append(link)
    between = {
        (source, target): _merged(same)
        for (source, target), same in found.items()
        if source is not None and target is not None and source != target
    }
    entering = {target: same for (source, target), same in found.items() if source is None}
    leaving = {source: same for (source, target), same in found.items() if target is None}

    def part(number: int) -> Part:
        item = items[number]
        if isinstance(item, Box):
            return item
        own = [link for ends, same in found.items() if number in ends for link in same]
        return Fold(item, _body(item.items, own, titles, opened))

    if len(items) != 1 and not (between or entering or leaving):
        return BoxRow(tuple(map(part, range(len(items)))))
    order = _in_a_row(len(items), between)
    if order is None or not (entering.keys() <= {order[0]} and leaving.keys() <= {order[-1]}):
        return _piece(items, links, place, titles, opened)
    return Chain(
        tuple(map(part, order)),
        tuple(between[pair] for pair in pairwise(order)),
        _merged(entering[order[0]]) if entering else None,
        _merged(leaving[order[-1]]) if leaving else None,
    )


def _merged(links: Sequence[Link]) -> Link:
    """Return one link for several: a road if one is, marked if one is."""
    return replace(
        links[0],
        road=any(link.road for link in links),
        label=(said := next((link for link in links if link.label), links[0])).label,
        sizes=said.sizes,
        mark=next((link.mark for link in links if link.mark), None),
    )


def _solid(item: Box | Group) -> Box | Group:
    """Return an item without empty groups; an empty group becomes its box."""
    if isinstance(item, Box):
        return item
    if not any(names_within([item])):
        return item.closed
    return replace(item, items=tuple(map(_solid, item.items)))


def _in_a_row(count: int, between: dict[tuple[int, int], Link]) -> list[int] | None:
    """Return the order in which each item is linked only to the next, if there is one."""
    following = dict(between.keys())
    first = set(range(count)) - set(following.values())
    marked = any(link.mark for link in between.values())
    if marked or len(between) != count - 1 or len(first) != 1:
        return None
    order = [first.pop()]
    while order[-1] in following:
        order.append(following[order[-1]])
    return order if len(order) == count else None


def _piece(
    items: Sequence[Box | Group],
    links: Sequence[Link],
    place: dict[str, int],
    titles: dict[str, str],
    opened: frozenset[str],
) -> Piece:
    sources = dict.fromkeys(link.source for link in links if link.source not in place)
    taken = set(place)
    stubs: dict[str, Box] = {}
    for source in sources:
        text = f"in: {titles.get(source, source)}" if len(sources) > 1 else "in"
        stubs[source] = Box(_free(f"{source} in", taken), "end", "", small=(text,))
        taken.add(stubs[source].name)
    out = Box(_free("out", taken), "end", "", small=("out",))
    ways = tuple(
        link
        if link.source in place and link.target in place
        else replace(link, source=stubs[link.source].name, label=())
        if link.source in stubs
        else replace(link, target=out.name, label=())
        for link in links
    )
    last = (out,) if any(link.target == out.name for link in ways) else ()
    diagram = Diagram("", (), (*stubs.values(), *items, *last), ways)
    views = tuple(sorted(_views(diagram, opened), key=lambda view: (len(view), sorted(view))))
    return Piece(diagram, views, frozenset(box.name for box in (*stubs.values(), *last)))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    return name


def _views(diagram: Diagram, opened: frozenset[str]) -> set[frozenset[str]]:
    """Return the sets of open groups to lay a piece out with; a group only with its parents."""
    around = dict(_around(diagram.items, frozenset()))
    every = frozenset(around)
    wanted = frozenset(name for name in every & opened if around[name] <= opened)
    least = {frozenset[str](), wanted, every}
    if len(every) <= MOST_GROUPS:
        return least | set(_sets(diagram.items))
    alone = least | {whole | {name} for name, whole in around.items()}
    if sum(_drawn(diagram.items, view) for view in alone) <= MOST_BOXES:
        return alone
    depths = set(map(len, around.values()))
    return least | {frozenset(n for n in every if len(around[n]) <= depth) for depth in depths}


def _around(
    items: Iterable[Box | Group], whole: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for item in items:
        if isinstance(item, Group):
            yield item.name, whole
            yield from _around(item.items, whole | {item.name})


def _sets(items: Iterable[Box | Group]) -> list[frozenset[str]]:
    """Return every set of groups that contains the parents of its members."""
    found = [frozenset[str]()]
    for item in items:
        if isinstance(item, Group):
            inner = [frozenset[str](), *({item.name} | more for more in _sets(item.items))]
            found = [one | more for one in found for more in inner]
    return found


def _drawn(items: Iterable[Box | Group], view: frozenset[str]) -> int:
    return sum(
        _drawn(item.items, view) if isinstance(item, Group) and item.name in view else 1
        for item in items
    )
