"""The lines of a spec's nodes in its text, with their problems."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import dedent

from composer.errors import Diagnostic, Location
from composer.graph.graph import Graph, GraphNode
from composer.language.source import Source, YamlPath


@dataclass(frozen=True)
class SpecText:
    """The text of a graph's spec, and of those that it uses, with the problems in them."""

    graph: Graph
    problems: Sequence[Diagnostic] = ()

    def lines(self, node: GraphNode) -> tuple[str, str] | None:
        """Return the start of a node (``se.yaml:14``) and its lines, if it is in a text."""
        return self._lines(node.source or self.graph.source, node.path[:2])

    def lines_at(self, name: str) -> tuple[str, str] | None:
        """Return the same of a node of the spec itself that was expanded into others."""
        return self._lines(self.graph.source, ("nodes", name))

    def _lines(self, source: Source, path: YamlPath) -> tuple[str, str] | None:
        if path not in source.keys:
            return None
        at = source.at_key(path)
        if at is None:
            return None
        starts = self._starts.get(at.file, [])
        below = bisect_right(starts, at.line)
        last = starts[below] - 1 if below < len(starts) else len(source.lines)
        lines = source.lines[at.line - 1 : last] if at.file == source.file else [at.text]
        while len(lines) > 1 and not lines[-1].split("#")[0].strip():
            lines = lines[:-1]
        return f"{at.file}:{at.line}", dedent("\n".join(lines))

    def problems_of(self, name: str) -> tuple[str, ...]:
        """Return the problems in a node's lines."""
        return tuple(problem.message for problem in self._by_node.get(name, []))

    @property
    def others(self) -> list[Diagnostic]:
        """The problems that are in no node."""
        placed = {problem for problems in self._by_node.values() for problem in problems}
        return [problem for problem in self.problems if problem not in placed]

    @cached_property
    def _starts(self) -> dict[str, list[int]]:
        """The lines at which nodes, and what follows them, begin, by file."""
        found: dict[str, list[int]] = defaultdict(list)
        sources = (self.graph.source, *(node.source for node in self.graph.nodes if node.source))
        for source in {id(source): source for source in sources}.values():
            for path in source.keys:
                at = source.at_key(path)
                if at is not None and (len(path) == 1 or (len(path) == 2 and path[0] == "nodes")):
                    found[at.file].append(at.line)
        return {file: sorted(lines) for file, lines in found.items()}

    @cached_property
    def _places(self) -> dict[tuple[str, int], list[tuple[int, str]]]:
        """The nodes that begin at a line, each with its column."""
        found: dict[tuple[str, int], list[tuple[int, str]]] = defaultdict(list)
        for node in self.graph.nodes:
            at = (node.source or self.graph.source).at_key(node.path[:2])
            if at is not None:
                found[at.file, at.line].append((at.column, node.name))
        return {place: sorted(nodes) for place, nodes in found.items()}

    @cached_property
    def _by_node(self) -> dict[str, list[Diagnostic]]:
        found: dict[str, list[Diagnostic]] = defaultdict(list)
        for problem in self.problems:
            name = self._node_at(problem.where) if problem.where is not None else None
            if name is not None:
                found[name].append(problem)
        return found

    def _node_at(self, where: Location) -> str | None:
        """Return the node at a position; of several on one line the one before it."""
        starts = self._starts.get(where.file, [])
        above = bisect_right(starts, where.line)
        here = self._places.get((where.file, starts[above - 1]), []) if above else []
        before = [name for column, name in here if column <= where.column]
        if not here:
            return None
        return before[-1] if before else here[0][1]
