"""Dependencies: the execution order, the ancestors of a value, cycles.

Each function takes as `reads` what every node reads, in the order of the text; a name that is not a
key of it, such as the input, depends on nothing. The time is linear in nodes and edges, with a
logarithm for the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field

import networkx as nx

Reads = Mapping[str, Iterable[str]]

#: How often the search for cycles may visit each edge, as many cycles may share a long path.
_PATIENCE = 50


def in_order(reads: Reads) -> list[str]:
    """Return the nodes in execution order, keeping the given order where possible.

    Nodes in a cycle, and nodes that depend on one, are omitted.
    """
    if _stand_in_order(reads):
        return list(reads)
    rank = {name: place for place, name in enumerate(reads)}
    found = []
    with suppress(nx.NetworkXUnfeasible):  # raised after all nodes outside cycles were yielded
        order = nx.lexicographical_topological_sort(_digraph(reads), lambda n: rank.get(n, -1))
        for name in order:
            if name in rank:
                found.append(name)  # noqa: PERF401 - keeps what was found before the exception
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
    """Return the names of everything that `name` depends on."""
    found: set[str] = nx.ancestors(_digraph(reads), name)
    return found


def cycles(reads: Reads) -> tuple[list[list[str]], Set[str]]:
    """Return the cycles, and the nodes whose reads must be dropped to break them all.

    Each cycle is a path from its first node in the text back to it. They are found one by one, in
    one walk; the first node of each reads nothing from then on. networkx would restart for each
    cycle. If very many share a long path, the last ones are broken without being reported.
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
    """Walks depth first from each value to its readers, and breaks each cycle it meets."""

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
            while start not in self._done and self._steps >= 0:  # again if it was in a cycle
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
