"""How far down each box is: one rank below the lowest box that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from composer.drawing.diagram import Box, Diagram, Group

Homes = Mapping[str, tuple[int, ...]]


def homes_of(diagram: Diagram) -> dict[str, tuple[int, ...]]:
    """Return the groups that each box is in, the outer before the inner, as their numbers."""
    numbers = {id(group): number for number, group in enumerate(diagram.groups)}
    found: dict[str, tuple[int, ...]] = {}

    def walk(items: Iterable[Box | Group], home: tuple[int, ...]) -> None:
        for item in items:
            if isinstance(item, Box):
                found[item.name] = home
            else:
                walk(item.items, (*home, numbers[id(item)]))

    walk(diagram.items, ())
    return found


def ranks_of(diagram: Diagram, homes: Homes) -> dict[str, int]:
    """Return the rank of each box, from 0 downwards.

    Every link goes down by a rank at least, but for those that close a cycle, and for shared
    weights, which are no value on its way. A box that reads nothing is just above what reads it.
    """
    reads: dict[str, list[str]] = {name: [] for name in homes}
    read_by: dict[str, list[str]] = {name: [] for name in homes}
    links = [(k.source, k.target) for k in diagram.links if k.mark != "shared"]
    order = _sorted(list(homes), links)
    place = {name: number for number, name in enumerate(order)}
    for source, target in dict.fromkeys(links):
        if place[source] < place[target]:
            reads[target].append(source)
            read_by[source].append(target)
    ranks: dict[str, int] = {}
    for name in order:
        ranks[name] = max((ranks[one] + 1 for one in reads[name]), default=0)
    for name in reversed(order):
        if read_by[name] and _is_free(name, reads[name], read_by[name], homes):
            ranks[name] = min(ranks[one] for one in read_by[name]) - 1
    for name in order:
        if not reads[name] and not read_by[name]:
            home = homes[name]
            near = (ranks[o] for o in order if home and homes[o] == home and read_by[o])
            ranks[name] = min(near, default=0)
    return ranks


def _is_free(name: str, reads: Sequence[str], read_by: Sequence[str], homes: Homes) -> bool:
    """Return whether a box belongs to what is below it more than to what is above it."""
    if not reads:
        return True
    home = homes[name]
    if not home:
        return False
    inside = [homes[one][: len(home)] == home for one in read_by]
    return any(inside) and not any(homes[one][: len(home)] == home for one in reads)


def _sorted(names: Sequence[str], links: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names so that links lead on, but for those that close a cycle."""
    after: dict[str, list[str]] = {name: [] for name in names}
    read = set()
    for source, target in links:
        after[source].append(target)
        read.add(target)
    first = [name for name in names if name not in read]
    done: list[str] = []
    seen: set[str] = set()
    for root in (*first, *names):
        if root in seen:
            continue
        seen.add(root)
        open_ = [(root, iter(after[root]))]
        while open_:
            name, rest = open_[-1]
            found = next((one for one in rest if one not in seen), None)
            if found is None:
                done.append(name)
                open_.pop()
            else:
                seen.add(found)
                open_.append((found, iter(after[found])))
    return done[::-1]
