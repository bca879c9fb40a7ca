"""A spec's graph as a diagram: one box for each node, the reweighted path as the main road.

What `use`, `branch` and `repeat` made of one node is a group. A faulty graph is drawn as far as it
is known, with what is wrong at the node where it stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from textwrap import dedent
from typing import Any

from composer.drawing.diagram import Box, Diagram, Fact, Group, Link
from composer.drawing.numbers import cost_line, giga
from composer.errors import Diagnostic, Location, listing
from composer.graph.costs import node_costs
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.primitives import Spec
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive
from composer.primitives.branch import Branch
from composer.primitives.cost import Cost
from composer.primitives.structure import Alias, Repeating
from composer.primitives.use import Use
from composer.spec.names import COMMA

LETTERS_OF_A_LINE = 28

#: The box of what the spec gives; no node can have this name.
OUTPUT = "(output)"


@dataclass(frozen=True)
class Said:
    """What else is known of a graph than the graph itself.

    Attributes:
        problems: what is wrong with it.
        written: the fields of the file, of which faulty nodes still tell something.
        code: lines of fx code by node.
        inside: what the names of its boxes begin with, where it is drawn inside a backbone.
    """

    problems: Sequence[Diagnostic] = ()
    written: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""


def mechanism(graph: Graph, said: Said | None = None) -> Diagram:
    """Return the diagram of a graph that has been through the checks.

    Args:
        graph: as `composer.graph.passes.analyse` gives it, sound or not.
        said: what else there is to know.
    """
    return _Drawing(graph, said or Said()).diagram()


class _Drawing:
    def __init__(self, graph: Graph, said: Said) -> None:
        self.graph, self.said = graph, said
        self.spec: Spec = graph.spec
        self.costs = node_costs(graph)
        self.nodes = {n.name: n for n in graph.nodes if not isinstance(n.op, Alias)}
        self.phantoms: dict[str, list[str]] = {}

    def diagram(self) -> Diagram:
        links = list(self._links())
        items = [self._end(INPUT, "input"), *self._items("", list(self.nodes))]
        items += [self._phantom(word, problems) for word, problems in self.phantoms.items()]
        items.append(self._end(OUTPUT, "output"))
        total = Cost(
            sum(cost.parameters for cost in self.costs.values()),
            sum(cost.flops for cost in self.costs.values()),
        )
        return Diagram(
            self.spec.title or self.spec.name,
            tuple(self._caption(total)),
            tuple(items),
            tuple(links),
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
            yield f"{total.parameters:,} parameters · {giga(total.flops)} multiply-adds"

    def _notes(self) -> Iterable[str]:
        if off := sorted(self.off):
            yield f"off under these params: {listing(off)}"
        for problem in self.said.problems:
            if problem not in self._placed:
                yield f"{problem.severity}: {problem.message}"

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
            members = [name for name in members if name not in self.off]
            if members == [whole]:
                items.append(self._box(self.nodes[whole]))
            elif members:
                items.append(self._group(whole, members))
        return items

    def _group(self, name: str, members: list[str]) -> Group:
        own = [self._box(self.nodes[name])] if name in members else []
        inner = self._items(f"{name}.", [member for member in members if member != name])
        cost = Cost(
            sum(self.costs[m].parameters for m in members if m in self.costs),
            sum(self.costs[m].flops for m in members if m in self.costs),
        )
        lines = self._of_structure(name, inner)
        spent = cost_line(cost.parameters, cost.flops)
        title = _title(name)
        problems = tuple(text for member in members for text in self._problems_at(member))
        closed = Box(
            f"{self._box_name(name)} closed", "plain", title, lines, spent, (), problems,
            facts=(*self._yaml(self.nodes[members[0]]), *self._value_facts(name)),
        )  # fmt: skip
        return Group(self._box_name(name), title, (*inner, *own), closed, (*lines, *spent))

    def _of_structure(self, name: str, parts: Sequence[Box | Group]) -> tuple[str, ...]:
        """Return what a node does that was expanded into parts."""
        op = self._written_at(name.split("."))
        if isinstance(op, Use):
            used = self.spec.used.get(op.spec)
            return (used.title or used.name if used is not None else op.label(),)
        if isinstance(op, Branch):
            return (f"{len(parts)} branches on {op.axis}",)
        return (f"{len(parts)} steps",) if op is not None else ()

    def _written_at(self, words: list[str]) -> Primitive | None:
        """Return the op that the text has at a dotted name, also in the specs that it uses."""
        spec: Spec | None = self.spec
        op: Primitive | None = None
        for word in words:
            if isinstance(op, Repeating):
                op = op.each  # the word is the number of the part
            elif spec is not None:
                op = next((o for n, o in spec.nodes.items() if word in n.split(COMMA)), None)
            if isinstance(op, Use) and spec is not None:
                spec = spec.used.get(op.spec)
        return op

    def _box(self, node: GraphNode) -> Box:
        op = node.op or node.written
        problems = tuple(self._problems_at(node.name))
        spent = self.costs.get(node.name, Cost())
        lines = _said(op.label(), self._formula(node)) if op is not None else ()
        if op is None and (told := self._told(node).get("op")):
            lines = (str(told),)
        small = cost_line(spent.parameters, spent.flops)
        if node.weights not in (None, node.name):
            small = (f"weights of {node.weights}", *small)
        return Box(
            self._box_name(node.name),
            op.colour if op is not None else "problem",  # type: ignore[arg-type]
            _title(node.name),
            lines,
            small,
            (),
            problems,
            faint=node.name not in self.reached,
            facts=tuple(self._facts(node, spent)),
        )

    def _formula(self, node: GraphNode) -> str:
        """Return what a node computes, with the names of its operands as its own spec has them."""
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
        source = node.source or self.graph.source
        at = source.at_key(node.path[:2])
        if at is not None:
            last = self._last_line(source.file, at)
            lines = source.lines[at.line - 1 : last] if at.file == source.file else [at.text]
            while len(lines) > 1 and not lines[-1].split("#")[0].strip():
                lines = lines[:-1]
            yield Fact(f"{at.file}:{at.line}", dedent("\n".join(lines)), code=True)

    def _phantom(self, word: str, problems: list[str]) -> Box:
        return Box(self._box_name(word), "problem", word, problems=tuple(problems))

    # --------------------------------------------------------------------------------- problems

    @cached_property
    def _starts(self) -> dict[str, list[int]]:
        """The lines at which nodes, and what follows them, begin, by file."""
        found: dict[str, list[int]] = defaultdict(list)
        for source in {id(s): s for s in (self.graph.source, *(n.source for n in self.graph.nodes
                                                               if n.source))}.values():  # fmt: skip
            for path in source.keys:
                at = source.at_key(path)
                if at is not None and (len(path) == 1 or (len(path) == 2 and path[0] == "nodes")):
                    found[at.file].append(at.line)
        return {file: sorted(lines) for file, lines in found.items()}

    def _last_line(self, file: str, at: Location) -> int:
        """Return the last line of what begins at a place."""
        after = [line for line in self._starts.get(file, []) if line > at.line]
        return (after[0] if after else 10**9) - 1

    @cached_property
    def _by_node(self) -> dict[str, list[Diagnostic]]:
        """The problems of each node, by where both stand in the text."""
        found: dict[str, list[Diagnostic]] = defaultdict(list)
        places: dict[tuple[str, int], list[tuple[int, str]]] = {}
        for node in self.nodes.values():
            at = (node.source or self.graph.source).at_key(node.path[:2])
            if at is not None:
                places.setdefault((at.file, at.line), []).append((at.column, node.name))
        for problem in self.said.problems:
            where = problem.where
            if where is None:
                continue
            starts = [line for line in self._starts.get(where.file, []) if line <= where.line]
            here = places.get((where.file, starts[-1]), []) if starts else []
            before = [name for column, name in sorted(here) if column <= where.column]
            for name in before[-1:] or [name for _, name in here[:1]]:
                found[name].append(problem)
        return found

    @cached_property
    def _placed(self) -> set[Diagnostic]:
        return {problem for problems in self._by_node.values() for problem in problems}

    def _problems_at(self, name: str) -> Iterable[str]:
        return (problem.message for problem in self._by_node.get(name, []))

    def _told(self, node: GraphNode) -> Mapping[str, Any]:
        """Return the fields that the file has for a node; none where it is no mapping."""
        nodes = self.said.written.get("nodes")
        told = nodes.get(node.name) if isinstance(nodes, dict) else None
        return told if isinstance(told, dict) else {}

    # ------------------------------------------------------------------------------------ links

    def _reads(self, node: GraphNode) -> list[tuple[str, bool]]:
        """Return what a node reads, and whether each is there."""
        op = node.op or node.written
        if op is not None:
            words = [str(ref) for _, ref in op.operands()]
        else:
            told = self._told(node)
            named = [told.get(key) for key in ("x", "by", "q", "k", "v", "weight")]
            of = told.get("of")
            named += of if isinstance(of, list) else []
            words = [word for word in named if isinstance(word, str)]
            if not words and "." not in node.name:
                words = [self._above(node.name)]
        found = {self._meant(word): True for word in words}
        known = {INPUT, *self.nodes}
        return [(name, name in known) for name in found]

    def _above(self, name: str) -> str:
        names = [one.name for one in self.graph.nodes if "." not in one.name]
        place = names.index(name)
        return names[place - 1] if place else INPUT

    def _meant(self, name: str) -> str:
        """Return the node that a name stands for."""
        seen = set()
        while name in self.graph.by_name and name not in seen:
            seen.add(name)
            op = self.graph.by_name[name].op
            if not isinstance(op, Alias):
                break
            name = str(op.x)
        return name

    @cached_property
    def reads(self) -> dict[str, list[tuple[str, bool]]]:
        """What each node reads, and whether that is there."""
        return {name: self._reads(node) for name, node in self.nodes.items()}

    @cached_property
    def reached(self) -> set[str]:
        """The nodes that the output is made from; all of them where that is not known."""
        if self.said.problems:
            return set(self.nodes)
        found: set[str] = set()
        waiting = [self._meant(self.graph.output)]
        while waiting:
            name = waiting.pop()
            if name in self.nodes and name not in found:
                found.add(name)
                waiting += [read for read, _ in self.reads[name]]
        return found

    @cached_property
    def off(self) -> set[str]:
        """The nodes that are not reached, but would be under other params."""
        away = {name for name in self.nodes if name not in self.reached}
        return {n for n in away if n.partition(".")[0] in self.graph.unreached}

    @cached_property
    def road(self) -> set[tuple[str, str]]:
        """The links of the main road: from the output back along what each node carries on."""
        found: set[tuple[str, str]] = set()
        waiting = [self._meant(self.graph.output)]
        seen = set()
        while waiting:
            name = waiting.pop()
            node = self.nodes.get(name)
            if node is None or node.op is None or name in seen:
                continue
            seen.add(name)
            carried = {self._meant(str(ref)) for ref in node.op.carries()}
            found |= {(one, name) for one in carried}
            waiting += carried
        return found

    def _links(self) -> Iterable[Link]:
        found: list[Link] = []
        for name, node in self.nodes.items():
            if name in self.off:
                continue
            for read, known in self.reads[name]:
                if not known:
                    told = (message for message in self._problems_at(name))
                    self.phantoms.setdefault(read, [m for m in told if repr(read) in m])
                road = (read, name) in self.road
                found.append(self._link(read, name, road, known))
            if node.weights in self.nodes and node.weights != name:
                keeper, name = self._box_name(node.weights), self._box_name(name)
                found.append(Link(keeper, name, ("shared weights",), mark="shared"))
        last = self._meant(self.graph.output)
        if last in self.nodes or last == INPUT:
            found.append(self._link(last, OUTPUT, True, True))
        return self._labelled(found)

    def _link(self, source: str, target: str, road: bool, known: bool) -> Link:
        mark = None if known else "problem"
        return Link(self._box_name(source), self._box_name(target), (), road, mark)  # type: ignore[arg-type]

    def _labelled(self, links: list[Link]) -> Iterable[Link]:
        """Write at one link of each value what it is: at that of the main road, else the first."""
        best: dict[str, int] = {}
        for number, link in enumerate(links):
            if link.mark is None:
                known = best.setdefault(link.source, number)
                if link.road and not links[known].road:
                    best[link.source] = number
        for number, link in enumerate(links):
            axes = self._axes(link.source.removeprefix(self.said.inside))
            if best.get(link.source) == number and axes is not None:
                label = (" ".join(axes) or "one number", _sizes(axes))
                yield replace(link, label=tuple(text for text in label if text))
            else:
                yield link

    def _axes(self, name: str) -> Axes | None:
        if name == INPUT:
            return self.graph.input_axes
        node = self.graph.by_name.get(name)
        return node.axes if node is not None else None


def _said(label: str, formula: str) -> tuple[str, ...]:
    """Return what a node does in words and as a formula, on one line where both are short."""
    if not formula or formula == label:
        return (label,)
    if label in formula:
        return (formula,)
    line = f"{label}: {formula}"
    return (line,) if len(line) <= LETTERS_OF_A_LINE else (label, formula)


def _title(name: str) -> str:
    """Return the last word of a dotted name; of a number the one before it, too."""
    *before, last = name.split(".")
    return f"{before[-1]} {last}" if last.isdigit() and before else last


def _sizes(axes: Axes, of_batch: bool = False) -> str:
    """Return the sizes with crosses between them; an open one, such as the batch, is a name."""
    sizes = [
        f"({size})" if size.args else str(size)
        for axis, size in axes.sizes
        if of_batch or size.is_constant or str(size) != axis
    ]
    return "×".join(sizes)
