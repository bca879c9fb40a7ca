"""A spec's graph as a diagram: one box for each node, the reweighted path as the main road.

The expansion of a node by `use`, `branch` or `repeat` is a group. A faulty graph is drawn as far as
it is known, with each problem at its node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from composer.drawing.diagram import Box, Diagram, Fact, Group, Kind, Link, closed_name
from composer.drawing.reads import Reads
from composer.drawing.spec_text import SpecText
from composer.errors import Diagnostic, counted, listing
from composer.graph.costs import node_costs
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.language.collecting import uncollected
from composer.language.names import COMMA
from composer.measure.numbers import cost_line, giga
from composer.primitives import Spec
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive
from composer.primitives.branch import Branch
from composer.primitives.cost import Cost
from composer.primitives.structure import Repeating
from composer.primitives.use import Use

LETTERS_OF_A_LINE = 28

#: The box of the spec's output; no node can have this name.
OUTPUT = ".output"


@dataclass(frozen=True)
class Said:
    """What is known of a graph besides the graph itself.

    Attributes:
        problems: its problems.
        written: the fields of the file, which still describe faulty nodes.
        code: lines of fx code by node.
        inside: the prefix of its boxes' names, if it is drawn inside a backbone.
    """

    problems: Sequence[Diagnostic] = ()
    written: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""


@uncollected()
def mechanism(graph: Graph, said: Said | None = None) -> Diagram:
    """Return the diagram of a checked graph.

    Args:
        graph: as returned by `composer.graph.passes.analyse`, valid or not.
        said: what else is known.
    """
    return _Drawing(graph, said or Said()).diagram()


class _Drawing:
    def __init__(self, graph: Graph, said: Said) -> None:
        self.graph, self.said = graph, said
        self.spec: Spec = graph.spec
        self.costs = node_costs(graph)
        self.reads = Reads(graph, said.written)
        self.text = SpecText(graph, said.problems)
        self.nodes = self.reads.nodes

    def diagram(self) -> Diagram:
        items = [self._end(INPUT, "input"), *self._items("", list(self.nodes))]
        items += [*self._missing(), self._end(OUTPUT, "output")]
        off = self.reads.off
        total = sum((cost for name, cost in self.costs.items() if name not in off), Cost())
        return Diagram(
            (self.spec.title or "").strip() or self.spec.name,
            tuple(self._caption(total)),
            tuple(items),
            tuple(self._links()),
            tuple(self._notes()),
        )

    def _caption(self, total: Cost) -> Iterable[str]:
        if self.spec.title or self.spec.source:
            yield " · ".join(text for text in (self.spec.name, self.spec.source) if text)
        sizes = [f"{axis} = {size}" for axis, size in self.graph.input_axes.sizes
                 if size.is_constant]  # fmt: skip
        changed = [f"{name} = {value}" for name, value in self.graph.settings.params.items()
                   if name in self.spec.params]  # fmt: skip
        if told := [*sizes, *changed]:
            yield ", ".join(told)
        if total != Cost():
            parameters = counted(total.parameters, "parameter")
            yield f"{parameters} · {giga(total.flops)} multiply-adds"

    def _notes(self) -> Iterable[str]:
        if off := sorted(self.reads.off):
            yield f"off under these params: {listing(off)}"
        yield from (f"{problem.severity}: {problem.message}" for problem in self.text.others)

    # ----------------------------------------------------------------------------------- boxes

    def _box_name(self, name: str) -> str:
        return f"{self.said.inside}{name}"

    def _end(self, name: str, title: str) -> Box:
        return Box(self._box_name(name), "end", title, facts=self._value_facts(name))

    def _value_facts(self, name: str) -> tuple[Fact, ...]:
        axes = self._axes(self.graph.output if name == OUTPUT else name)
        if axes is None:
            return ()
        return (Fact("axes", " ".join(axes)), Fact("sizes", _sizes(axes, of_batch=True)))

    def _items(self, prefix: str, names: list[str]) -> list[Box | Group]:
        """Return boxes and groups of the nodes below a name, in the order of the text."""
        inside: dict[str, list[str]] = defaultdict(list)
        for name in names:
            inside[name[len(prefix) :].partition(".")[0]].append(name)
        items: list[Box | Group] = []
        for first, members in inside.items():
            whole = f"{prefix}{first}"
            gone = self.reads.off | self.reads.given
            members = [name for name in members if name not in gone]
            if members == [whole]:
                items.append(self._box(self.nodes[whole]))
            elif members:
                items.append(self._group(whole, members))
        return items

    def _group(self, name: str, members: list[str]) -> Group:
        own = [self._box(self.nodes[name])] if name in members else []
        inner = self._items(f"{name}.", [member for member in members if member != name])
        cost = sum((self.costs.get(member, Cost()) for member in members), Cost())
        lines = self._of_structure(name, inner)
        spent = cost_line(cost.parameters, cost.flops)
        title = _title(name)
        problems = tuple(text for member in members for text in self.text.problems_of(member))
        closed = Box(
            closed_name(self._box_name(name)), "plain", title, lines, spent, (), problems,
            facts=(*self._yaml_of_group(name, members[0]), *self._value_facts(name)),
        )  # fmt: skip
        return Group(self._box_name(name), title, (*inner, *own), closed, (*lines, *spent))

    def _of_structure(self, name: str, parts: Sequence[Box | Group]) -> tuple[str, ...]:
        """Return the description of a node that was expanded into parts."""
        op, used = self._written_at(name.split("."))
        if isinstance(op, Use):
            return (used.title or used.name if used is not None else op.label(),)
        if isinstance(op, Branch):
            return (f"{len(parts)} branches on {op.axis}",)
        return (f"{len(parts)} steps",) if op is not None else ()

    def _written_at(self, words: list[str]) -> tuple[Primitive | None, Spec | None]:
        """Return the op in the text at a dotted name, and the spec that it uses, if any.

        The name may lead into the specs that are used.
        """
        spec: Spec | None = self.spec
        op: Primitive | None = None
        for word in words:
            if isinstance(op, Repeating):
                op = op.each  # the word is the number of the part
            elif spec is not None:
                op = next((o for n, o in spec.nodes.items() if word in n.split(COMMA)), None)
            if isinstance(op, Use) and spec is not None:
                spec = spec.used.get(op.spec)
        return op, spec if isinstance(op, Use) else None

    def _box(self, node: GraphNode) -> Box:
        op = node.op or node.written
        spent = self.costs.get(node.name, Cost())
        lines = _said(op.label(), self._formula(node)) if op is not None else ()
        if op is None and (told := self.reads.told(node).get("op")):
            lines = (str(told),)
        small = cost_line(spent.parameters, spent.flops)
        if self._shares(node):
            small = (f"weights of {node.weights}", *small)
        return Box(
            self._box_name(node.name),
            self._kind(node, spent),
            _title(node.name),
            lines,
            small,
            (),
            self.text.problems_of(node.name),
            faint=not (self.said.problems or node.name in self.reads.reached),
            facts=tuple(self._facts(node, spent)),
        )

    def _kind(self, node: GraphNode, spent: Cost) -> Kind:
        """Return the kind of a node's box: what has no weights is not drawn as learned."""
        op = node.op or node.written
        if op is None:
            return "problem"
        known = node.name in self.costs
        if op.colour == "layer" and known and not spent.parameters and not self._shares(node):
            return "plain"
        return op.colour  # type: ignore[return-value]

    def _shares(self, node: GraphNode) -> bool:
        """Return whether a node shares the weights of another, if that has any."""
        if node.weights is None or node.weights == node.name:
            return False
        return self.costs.get(node.weights, Cost()).parameters > 0

    def _formula(self, node: GraphNode) -> str:
        """Return the formula of a node, with its operands' names in its own spec."""
        op = node.op or node.written
        around = node.name.rpartition(".")[0]
        formula = op.formula() if op is not None else ""
        return formula.replace(f"{around}.", "") if around else formula

    def _facts(self, node: GraphNode, spent: Cost) -> Iterable[Fact]:
        op = node.op or node.written
        if op is not None:
            yield Fact("op", op.op)
            if formula := self._formula(node):
                yield Fact("formula", formula)
        yield from self._value_facts(node.name)
        if spent.parameters:
            yield Fact("parameters", f"{spent.parameters:,}")
        if spent.flops:
            yield Fact("multiply-adds", f"{spent.flops:,}")
        yield from self._yaml(node)
        if code := self.said.code.get(node.name):
            yield Fact("fx code", code, code=True)

    def _yaml(self, node: GraphNode) -> Iterable[Fact]:
        if (found := self.text.lines(node)) is not None:
            yield Fact(*found, code=True)

    def _yaml_of_group(self, name: str, first: str) -> Iterable[Fact]:
        """Yield the lines of the node that became a group, else those of its first member."""
        found = self.text.lines_at(name) if "." not in name else None
        if found is not None:
            yield Fact(*found, code=True)
        else:
            yield from self._yaml(self.nodes[first])

    # ------------------------------------------------------------------------------------ links

    def _links(self) -> Iterable[Link]:
        found: list[Link] = []
        for name, node in self.nodes.items():
            if name in self.reads.off:
                continue
            found += (self._link(read, name) for read in self.reads.of(name))
            if self._shares(node):
                ends = self._box_name(str(node.weights)), self._box_name(name)
                found.append(Link(*ends, ("shared weights",), mark="shared"))
        if self.reads.is_there(self.reads.output):
            last = self._box_name(self.reads.output)
            found.append(Link(last, self._box_name(OUTPUT), road=True))
        return self._labelled(found)

    def _link(self, source: str, target: str) -> Link:
        end = self._box_name(target)
        if self.reads.is_there(source):
            road = (source, target) in self.reads.road
            return Link(self._box_name(source), end, road=road)
        return Link(self._missing_name(source), end, mark="problem")

    def _missing(self) -> Iterable[Box]:
        """Yield a box for each missing operand, with its message."""
        found: dict[str, list[str]] = {}
        for name in self.nodes:
            for read in self.reads.of(name):
                if not self.reads.is_there(read):
                    told = (text for text in self.text.problems_of(name) if repr(read) in text)
                    found.setdefault(read, list(told))
        for word, problems in found.items():
            yield Box(self._missing_name(word), "problem", word, problems=tuple(problems))

    def _missing_name(self, word: str) -> str:
        return self._box_name(f".missing {word}")

    def _labelled(self, links: list[Link]) -> Iterable[Link]:
        """Label one link of each value: that of the main road, else the first."""
        best: dict[str, int] = {}
        for number, link in enumerate(links):
            if link.mark is None:
                known = best.setdefault(link.source, number)
                if link.road and not links[known].road:
                    best[link.source] = number
        for number, link in enumerate(links):
            axes = self._axes(link.source.removeprefix(self.said.inside))
            if best.get(link.source) == number and axes is not None:
                label, sizes = " ".join(axes) or "one number", _sizes(axes)
                both = (label, sizes) if sizes else (label,)
                yield replace(link, label=both, sizes=1 if sizes else 0)
            else:
                yield link

    def _axes(self, name: str) -> Axes | None:
        if name == INPUT:
            return self.graph.input_axes
        node = self.graph.by_name.get(name)
        return node.axes if node is not None else None


def _said(label: str, formula: str) -> tuple[str, ...]:
    """Return a node's description and formula, on one line if both are short."""
    if not formula or formula == label:
        return (label,)
    if label in formula:
        return (formula,)
    line = f"{label}: {formula}"
    return (line,) if len(line) <= LETTERS_OF_A_LINE else (label, formula)


def _title(name: str) -> str:
    """Return the last word of a dotted name; for a number also the one before it."""
    *before, last = name.split(".")
    return f"{before[-1]} {last}" if last.isdigit() and before else last


def _sizes(axes: Axes, of_batch: bool = False) -> str:
    """Return the sizes joined by crosses; an open one, such as the batch, as a name."""
    sizes = [
        f"({size})" if size.args else str(size)
        for axis, size in axes.sizes
        if of_batch or size.is_constant or str(size) != axis
    ]
    return "×".join(sizes)
