"""The intermediate representation: an immutable graph of primitives."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from composer.errors import ComposerError, Diagnostic, Location, in_order_of_text
from composer.graph.alike import fields_of
from composer.graph.order import ancestors, in_order
from composer.language.budget import MAX_NODES
from composer.language.expressions import Expr, Value
from composer.language.names import COMMA
from composer.language.source import Source, YamlPath
from composer.primitives import Spec
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Primitive
from composer.primitives.places import HW

INPUT = "input"

Init = Literal["paper", "identity"]


@dataclass(frozen=True)
class Tokens:
    """The spatial axes of the input come as one token axis, after `prefix` tokens passed through.

    With `join`, the prefix tokens take part: the map is then one column with a row for each token.
    """

    prefix: int = 0
    join: bool = False


@dataclass(frozen=True)
class Settings:
    """What is chosen from outside: sizes, params, the layout in memory, the initialisation.

    An omitted size stays symbolic, and is checked as such; `planned` holds the values of open sizes
    at the planned site, used for costs and pictures. `places` are the axes that height and width
    stand for: d, h, w for a volume, t for a signal. If the input comes as `tokens`, `layout` is
    that of the map they represent. For a spec whose sites share a node, `part` selects the graph
    that computes this node, or the rest, which takes its value as a second input. `room` limits
    the number of nodes after expansion.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Value | Expr] = field(default_factory=dict)
    layout: tuple[str, ...] | None = None
    tokens: Tokens | None = None
    init: Init = "paper"
    part: Literal["whole", "shared", "rest"] = "whole"
    inside: bool = False  # used by another spec
    planned: Mapping[str, int] = field(default_factory=dict)
    places: tuple[str, ...] = HW
    room: int = MAX_NODES

    @property
    def opened(self) -> Settings:
        """These settings, with the size of the map or the number of tokens left open."""
        of_map = (*self.places, "n")
        places = {axis: size for axis, size in self.sizes.items() if axis in of_map}
        rest = {axis: size for axis, size in self.sizes.items() if axis not in places}
        return replace(self, sizes=rest, planned={**self.planned, **places})

    @property
    def closed(self) -> Settings:
        """These settings, with the planned sizes filled in."""
        return replace(self, sizes={**self.sizes, **self.planned}, planned={})


@dataclass(frozen=True)
class GraphNode:
    """One node: its primitive (None if the spec is faulty there), its path in the spec, its axes.

    `source` is the text that contains it, if that is not the graph's own; `written` is the
    primitive before binding; `weights` names the node whose weights it shares.
    """

    name: str
    op: Primitive | None
    path: YamlPath
    axes: Axes | None = None
    source: Source | None = None
    written: Primitive | None = None
    weights: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of its values: one, except for an `unstack` that is not expanded yet."""
        return self.name.split(COMMA)

    @cached_property
    def operands(self) -> tuple[str, ...]:
        """The names of the nodes it reads, in order, without duplicates."""
        if self.op is None:
            return ()
        places = self.operand_places
        return places if len(places) < 2 else tuple(dict.fromkeys(places))

    @cached_property
    def operand_places(self) -> tuple[str, ...]:
        """The names of the nodes it reads, in order, once for each field that names one."""
        if self.op is None:
            return ()
        return tuple([
            str(ref.value) if ref.is_constant else str(ref) for _, ref in self.op.operands()
        ])  # fmt: skip

    def with_op(self, op: Primitive | None) -> GraphNode:
        """Return the node with another primitive, or none."""
        return GraphNode(
            self.name, op, self.path, self.axes, self.source, self.written, self.weights
        )

    def with_axes(self, axes: Axes) -> GraphNode:
        """Return the node with its axes; cached facts about its primitive are kept."""
        node = GraphNode(
            self.name, self.op, self.path, axes, self.source, self.written, self.weights
        )
        for name in ("operands", "operand_places", "fields"):
            if name in vars(self):
                vars(node)[name] = vars(self)[name]
        return node

    @cached_property
    def fields(self) -> Hashable:
        """The fields of its primitive without its operands; see `composer.graph.alike`."""
        return None if self.op is None else fields_of(self.op)


@dataclass(frozen=True)
class Graph:
    """A spec as a graph of nodes; every pass returns a new one."""

    spec: Spec
    source: Source
    settings: Settings
    input: tuple[str, ...]  # the axes of the spec's input, on a map with these spatial axes
    nodes: tuple[GraphNode, ...]
    output: str
    order: AxisOrder
    input_axes: Axes
    problems: tuple[Diagnostic, ...] = ()
    broken_params: frozenset[str] = frozenset()
    unreached: frozenset[str] = frozenset()  # from the output, under these params

    @property
    def is_spread(self) -> bool:
        """Whether the spec's height and width stand for other spatial axes."""
        return self.input != self.spec.input

    @cached_property
    def by_name(self) -> dict[str, GraphNode]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all values: the input and every node."""
        return frozenset([INPUT, *(name for node in self.nodes for name in node.names)])

    @cached_property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """What each node reads, in the order of the text."""
        return {node.name: node.operands for node in self.nodes}

    @cached_property
    def rank(self) -> dict[str, int]:
        """The position of each node in the spec."""
        return {INPUT: -1} | {node.name: index for index, node in enumerate(self.nodes)}

    @cached_property
    def _order_to_run(self) -> list[str]:
        return in_order(self.reads)

    @cached_property
    def is_in_order(self) -> bool:
        """Whether the nodes are in execution order."""
        return self._order_to_run == [node.name for node in self.nodes]

    def in_order(self) -> Iterator[GraphNode]:
        """Yield the nodes in execution order, keeping the order of the spec where possible."""
        return (self.by_name[name] for name in self._order_to_run)

    def ancestors(self, name: str) -> set[str]:
        """Return the names of everything `name` depends on, including the input."""
        return ancestors(self.reads, name)

    def axes_of(self, name: str) -> Axes | None:
        """Return the axes of a node or of the input."""
        return self.input_axes if name == INPUT else self.by_name[name].axes

    def reads_of(self, node: GraphNode) -> tuple[Axes | None, ...]:
        """Return the axes of the operands of a node, in the order of its fields.

        Together with `GraphNode.fields`, they determine all that its primitive computes.
        """
        return tuple([self.axes_of(name) for name in node.operand_places])

    def where(self, node: GraphNode, path: YamlPath = ()) -> Location | None:
        """Return the location of a field of a node in the spec's text."""
        return (node.source or self.source).at((*node.path, *path))

    def within(self, node: GraphNode, path: YamlPath, start: int, length: int) -> Location | None:
        """Return the location of a part of a field of a node."""
        return (node.source or self.source).within((*node.path, *path), start, length)

    def free_name(self, name: str) -> str:
        """Return `name` with as many underscores appended as needed to make it unique."""
        while name in self.by_name:
            name += "_"
        return name

    def with_nodes(self, nodes: Mapping[str, GraphNode]) -> Graph:
        """Return the graph with some nodes replaced by name."""
        if not nodes:
            return self
        return replace(self, nodes=tuple(nodes.get(n.name, n) for n in self.nodes))

    def with_problems(self, problems: list[Diagnostic]) -> Graph:
        """Return the graph with more problems noted."""
        if not problems:
            return self
        return replace(self, problems=(*self.problems, *problems))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors, in the order of the text, without duplicates."""
        return in_order_of_text(p for p in self.problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings and notes."""
        return tuple(p for p in self.problems if p.severity == "warning")

    def sound(self) -> Graph:
        """Return the graph itself.

        Raises:
            ComposerError: there are errors; it carries all of them.
        """
        if self.errors:
            raise ComposerError(self.errors)
        return self
