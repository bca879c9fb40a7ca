"""What comes before what: an order to run in, all that a value is made from, cycles.

Each takes as `reads` what every node reads, in the order of the text; a name that is no key of it,
such as the input, depends on nothing. The cost grows in a straight line with nodes and edges, but
for a logarithm in the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field

import networkx as nx

Reads = Mapping[str, Iterable[str]]

#: How often the search for cycles may walk over each edge, so many cycles share a long way.
_PATIENCE = 50


def in_order(reads: Reads) -> list[str]:
    """Return the nodes so that each comes after what it reads, else as they stand.

    Those of a cycle, and what depends on one, are left out.
    """
    if _stand_in_order(reads):
        return list(reads)
    rank = {name: place for place, name in enumerate(reads)}
    found = []
    with suppress(nx.NetworkXUnfeasible):  # raised once all that are in no cycle were given
        order = nx.lexicographical_topological_sort(_digraph(reads), lambda n: rank.get(n, -1))
        for name in order:
            if name in rank:
                found.append(name)  # noqa: PERF401 - what was found before the end counts
    return found


def _stand_in_order(reads: Reads) -> bool:
    """Return whether each node reads only those above it, as in most texts, or none of these."""
    below = set(reads)
    for name, operands in reads.items():
        if not below.isdisjoint(operands):
            return False
        below.discard(name)
    return True


def ancestors(reads: Reads, name: str) -> set[str]:
    """Return the names of all that `name` is made from."""
    found: set[str] = nx.ancestors(_digraph(reads), name)
    return found


def cycles(reads: Reads) -> tuple[list[list[str]], Set[str]]:
    """Return the cycles, and the nodes that must read nothing for there to be none.

    Each cycle is a path from its first node in the text back to it. They are found one by one,
    with that node of each taken to read nothing from then on, in one walk: networkx begins anew for
    each. Where very many share a long way the last are not told, but broken.
    """
    if _stand_in_order(reads):
        return [], set()
    search = _Search(reads)
    return list(search.run()), search.broken


def _digraph(reads: Reads) -> nx.DiGraph[str]:
    """Return the edges from each value to its readers."""
    digraph: nx.DiGraph[str] = nx.DiGraph()
    digraph.add_nodes_from(reads)
    for name, operands in reads.items():
        digraph.add_edges_from((operand, name) for operand in operands)
    return digraph


def _readers(reads: Reads) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {}
    for name, operands in reads.items():
        for operand in dict.fromkeys(operands):
            readers.setdefault(operand, []).append(name)
    return readers


@dataclass
class _Search:
    """Walks from each value to its readers, depth first, and breaks each cycle that it meets."""

    reads: Reads
    broken: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)
    _steps: int = 0

    def run(self) -> Iterator[list[str]]:
        """Yield each cycle."""
        readers = _readers(self.reads)
        rank = {name: place for place, name in enumerate(self.reads)}
        edges = sum(map(len, readers.values()))
        self._steps = _PATIENCE * (len(rank) + edges)
        starts = [name for name in readers if name not in rank]
        for start in (*starts, *rank):
            while start not in self._done and self._steps >= 0:  # again where it was in a cycle
                yield from self._from(start, readers, rank)
        if self._steps < 0:
            sound = set(in_order({n: () if n in self.broken else r for n, r in self.reads.items()}))
            self.broken |= self.reads.keys() - sound

    def _from(
        self, start: str, readers: Mapping[str, list[str]], rank: Mapping[str, int]
    ) -> Iterator[list[str]]:
        path = [start]
        places = {start: 0}
        left = [iter(readers.get(start, ()))]
        while path and self._steps >= 0:
            self._steps -= 1
            reader = next(left[-1], None)
            if reader is None:
                self._done.add(path[-1])
                del places[path.pop()], left[-1]
            elif reader in self.broken or reader in self._done:
                continue
            elif reader in places:
                circle = path[places[reader] :]
                first = min(range(len(circle)), key=lambda i: rank[circle[i]])
                yield [*circle[first:], *circle[: first + 1]]
                self.broken.add(circle[first])
                kept = places[circle[first]]
                for gone in path[kept:]:
                    del places[gone]
                del path[kept:], left[kept:]
            else:
                places[reader] = len(path)
                path.append(reader)
                left.append(iter(readers.get(reader, ())))
