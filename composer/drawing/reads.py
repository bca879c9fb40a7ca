"""What each node of a graph reads, which nodes are used, and which links are the main road.

The graph may be faulty: for a node that could not be read, the fields of the file are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.primitives.structure import Alias, Given

_OPERANDS = ("x", "by", "q", "k", "v", "weight")


@dataclass(frozen=True)
class Reads:
    """The operands of a graph's nodes; aliases left by structures are resolved.

    `written` are the fields of the file.
    """

    graph: Graph
    written: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> dict[str, GraphNode]:
        """The nodes that compute something, by name."""
        return {n.name: n for n in self.graph.nodes if not isinstance(n.op, Alias)}

    @cached_property
    def output(self) -> str:
        """The node with the spec's output."""
        return self.meant(self.graph.output)

    def of(self, name: str) -> list[str]:
        """Return the operands of a node, in order; some may be missing."""
        return self._of[name]

    def is_there(self, name: str) -> bool:
        """Return whether a name is the input or a node."""
        return name == INPUT or name in self.nodes

    def meant(self, name: str) -> str:
        """Return the node of a name."""
        seen = set()
        while name in self.graph.by_name and name not in seen:
            seen.add(name)
            op = self.graph.by_name[name].op
            if not isinstance(op, Alias):
                break
            name = str(op.x)
        return name

    def told(self, node: GraphNode) -> Mapping[str, Any]:
        """Return the fields of a node in the file; none if it is not a mapping."""
        nodes = self.written.get("nodes")
        told = nodes.get(node.name) if isinstance(nodes, dict) else None
        return told if isinstance(told, dict) else {}

    @cached_property
    def reached(self) -> set[str]:
        """The nodes that the output depends on."""
        return self._behind([self.output])

    def _behind(self, names: Iterable[str]) -> set[str]:
        """Return these nodes and all that they depend on."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.nodes and name not in found:
                found.add(name)
                waiting += self.of(name)
        return found

    @cached_property
    def given(self) -> set[str]:
        """The nodes whose value is a further input, made elsewhere."""
        return {name for name, node in self.nodes.items() if isinstance(node.op, Given)}

    @cached_property
    def off(self) -> set[str]:
        """The nodes that are unused, but would be used with other params.

        What a faulty node reads is used.
        """
        away = self.nodes.keys() - self.reached
        off = {name for name in away if name.partition(".")[0] in self.graph.unreached}
        return off - self._behind(self.nodes.keys() - off)

    @cached_property
    def road(self) -> set[tuple[str, str]]:
        """The links of the main road: from the output back along what each node carries on."""
        found: set[tuple[str, str]] = set()
        waiting, seen = [self.output], set()
        while waiting:
            name = waiting.pop()
            node = self.nodes.get(name)
            if node is None or node.op is None or name in seen:
                continue
            seen.add(name)
            carried = {self.meant(str(ref)) for ref in node.op.carries()}
            found |= {(one, name) for one in carried}
            waiting += carried
        return found

    @cached_property
    def _of(self) -> dict[str, list[str]]:
        return {
            name: list(dict.fromkeys(map(self.meant, self._words(node))))
            for name, node in self.nodes.items()
        }

    def _words(self, node: GraphNode) -> list[str]:
        op = node.op or node.written
        if op is not None:
            return [str(ref) for _, ref in op.operands()]
        told = self.told(node)
        of = told.get("of")
        named = [*(told.get(key) for key in _OPERANDS), *(of if isinstance(of, list) else [])]
        words = [word for word in named if isinstance(word, str)]
        return words or ([self._above(node.name)] if "." not in node.name else [])

    def _above(self, name: str) -> str:
        names = [one.name for one in self.graph.nodes if "." not in one.name]
        place = names.index(name)
        return names[place - 1] if place else INPUT
