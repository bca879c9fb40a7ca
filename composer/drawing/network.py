"""An outline as a diagram: the main road of stages and blocks, with repeats in one box as ×N.

Insertions are highlighted. At depth 1 the stages are closed, at 2 their blocks, at 3 the insertions
in these, at 4 the contents of insertions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from composer.drawing.diagram import Box, Diagram, Fact, Group, Link, closed_name
from composer.drawing.mechanism import OUTPUT, Said, mechanism
from composer.drawing.outline import DrawnPart, DrawnStage, Insertion, Outline, Spent, Step
from composer.drawing.repeats import Run, likeness, runs
from composer.drawing.words import badges, facts_of, from_to, spent_and_added
from composer.errors import counted, listing
from composer.measure.numbers import cost_line, giga

#: Most links into a part; with more, only the last is drawn.
MOST_READ = 2
#: Fewest rows of one kind that form a group, since they differ only in size.
MANY_ALIKE = 5
#: Most parameters outside all boxes that a note names.
MOST_NAMED = 6
DEPTH = 2  # the default


def network(outline: Outline) -> Diagram:
    """Return the diagram of a model."""
    return _Network(outline, "").diagram()


def before_and_after(outline: Outline) -> Diagram:
    """Return the diagram of a backbone beside that of its composition."""
    before, after = _side(outline.before, "before"), _side(outline, "after")
    both = _both(before, after, [f"{name} · {side.title}" for name, side in
                                 (("before", before), ("after", after))])  # fmt: skip
    return replace(both, title=after.title, caption=after.caption, notes=after.notes)


def side_by_side(one: Outline, other: Outline) -> Diagram:
    """Return the diagram of a model beside that of another."""
    left, right = _side(one, "left"), _side(other, "right")
    both = _both(left, right, [left.title, right.title])
    notes = tuple(f"{side.title}: {note}" for side in (left, right) for note in side.notes)
    return replace(both, title=f"{left.title} beside {right.title}", notes=notes)


def _side(outline: Outline, name: str) -> Diagram:
    return _Network(outline, f"{name}/").diagram()


def _both(one: Diagram, other: Diagram, headings: Sequence[str]) -> Diagram:
    """Return two diagrams, with the side as prefix of all names, as two groups."""
    groups: list[Group] = []
    same: dict[str, str] = {}
    for side, heading in zip((one, other), headings, strict=True):
        name = side.items[0].name.partition("/")[0]
        closed = Box(closed_name(f"{name}/"), "plain", heading)
        groups.append(Group(f"{name}/", heading, side.items, closed, side.caption, level=1))
        same |= {f"{name}/{path}": f"{name}/{drawn}" for path, drawn in side.drawn_as.items()}
    return Diagram("", (), tuple(groups), (*one.links, *other.links), (), same)


class _Network:
    def __init__(self, outline: Outline, prefix: str) -> None:
        self.outline, self.prefix = outline, prefix
        self.links: list[Link] = []
        self.entries: dict[str, list[tuple[str, bool]]] = {}  # the boxes that take a part's input
        self.exits: dict[str, str] = {}  # the box with a part's output
        self.given: dict[str, list[str]] = {}  # the boxes that take values shared in a block
        self.drawn: dict[str, DrawnPart] = {}  # which of the equal parts is drawn
        self.notes: dict[str, None] = {}

    def diagram(self) -> Diagram:
        outline = self.outline
        size = "×".join(map(str, outline.input_shape))
        start = Box(f"{self.prefix}.input", "end", "input", facts=(Fact("gives", size),))
        items: list[Box | Group] = [start]
        for number, row in enumerate(outline.rows):
            if isinstance(row, DrawnStage):
                items.append(self._stage(row))
            else:
                place = "stem" if not number else "head"
                place = "between" if 0 < number < len(outline.rows) - 1 else place
                items += self._beside(place if len(outline.rows) > 1 else "layers", row)
        end = Box(f"{self.prefix}.output", "end", "output")
        drawn = sum(part.spent.parameters for part in outline.parts)
        if (missing := outline.spent.parameters - drawn) > 0:
            self.notes[_unseen(missing, outline.unseen)] = None
        self._connect(start, end, size)
        title = outline.name
        if outline.specs:
            title += f" with {' and '.join(outline.specs)}"
        same = {path: part.path for path, part in self.drawn.items() if path != part.path}
        return Diagram(
            title, tuple(self._caption()), (*items, end), tuple(self.links), tuple(self.notes), same
        )

    def _caption(self) -> Iterator[str]:
        outline = self.outline
        size = "×".join(map(str, outline.input_shape))
        spent, before = outline.spent, outline.spent - outline.added
        if not outline.specs:
            yield f"{giga(spent.parameters)} parameters"
            yield f"{giga(spent.flops)} multiply-adds at {size}"
            return
        yield f"{from_to(before.parameters, spent.parameters)} parameters"
        yield f"{from_to(before.flops, spent.flops)} multiply-adds at {size}"

    # ---------------------------------------------------------------------------------- stages

    def _stage(self, stage: DrawnStage) -> Group:
        title = " · ".join(text for text in (f"stage {stage.number}", _where(stage)) if text)
        spent, added = stage.spent, stage.added
        small = spent_and_added(spent, added)
        blocks = [part for part in stage.parts if part.is_block]
        kinds = ", ".join(dict.fromkeys(part.kind for part in blocks))
        lines = (f"{counted(len(blocks), 'block')}: {kinds}",) if blocks else ()
        inserted = [one for part in stage.parts for one in part.inserted]
        closed = Box(
            closed_name(f"{self.prefix}.stage {stage.number}"), "plain", title, lines, small,
            badges(inserted), facts=tuple(facts_of(spent, added, stage.path)),
        )  # fmt: skip
        name = f"{self.prefix}.stage {stage.number}"
        return Group(name, title, tuple(self._rows(stage.parts)), closed, small)

    def _beside(self, place: str, parts: tuple[DrawnPart, ...]) -> Iterator[Box | Group]:
        """Yield what is before, between or after the stages, as one box if it is plain.

        Insertions there stay separate boxes.
        """
        run: list[DrawnPart] = []
        for part in (*parts, None):
            if part is not None and not part.inserted and not part.is_block:
                run.append(part)
                continue
            if run:
                yield self._plain_row(place, run)
                run = []
            if part is not None:
                yield from self._rows((part,))

    def _plain_row(self, place: str, parts: list[DrawnPart]) -> Box | Group:
        boxes = [self._whole(part, 1, part.path) for part in parts]
        if len(parts) == 1:
            return replace(boxes[0], lines=(*boxes[0].lines, f"({place})"))
        spent = sum((part.spent for part in parts), Spent())
        names = " · ".join(part.path for part in parts)
        name = f"{self.prefix}.{place} {parts[0].path}"
        closed = Box(
            closed_name(name), "plain", place, (names,), cost_line(spent.parameters, spent.flops),
            facts=tuple(facts_of(spent, Spent(), names)),
        )  # fmt: skip
        return Group(name, place, tuple(boxes), closed, closed.small, level=3)

    def _rows(self, parts: Sequence[DrawnPart]) -> Iterator[Box | Group]:
        """Yield the parts of a stage: equal ones as one, and many similar ones in a group."""
        for _, together in groupby(runs(parts), key=likeness):
            alike = list(together)
            items = [self._run(run) for run in alike]
            if len(items) < MANY_ALIKE:
                yield from items
            else:
                yield self._alike(alike, tuple(items))

    def _run(self, run: Run) -> Box | Group:
        """Return a repeated sequence of parts, drawn once."""
        pattern, first, last = run.pattern, run.parts[0].path, run.parts[-1].path
        for number, part in enumerate(run.parts):
            self.drawn[part.path] = pattern[number % len(pattern)]
        if len(pattern) == 1:
            return self._row(pattern[0], run.times, last)
        rows = tuple(
            self._row(part, 1, final.path)
            for part, final in zip(pattern, run.parts[-len(pattern) :], strict=True)
        )
        group = f"{self.prefix}.repeat {first}"
        inserted = [one for part in pattern for one in part.inserted]
        title = f"{counted(len(pattern), 'block')} ×{run.times}"
        closed = Box(
            closed_name(group), "plain", title, (f"{first} … {last}",), (), badges(inserted)
        )
        return Group(group, f"×{run.times}", rows, closed, level=2)

    def _alike(self, runs: Sequence[Run], items: tuple[Box | Group, ...]) -> Group:
        """Return many parts of one kind, which differ only in their sizes, as a group."""
        parts = [part for run in runs for part in run.parts]
        first, last = parts[0], parts[-1]
        where, title = f"{first.path} … {last.path}", f"{first.kind} ×{len(parts)}"
        spent = sum((part.spent for part in parts), Spent())
        told = cost_line(spent.parameters, spent.flops)
        small = (f"{told[0]} together",) if told else ()
        inserted = [one for part in parts for one in part.inserted]
        name = f"{self.prefix}.alike {first.path}"
        facts = tuple(facts_of(spent, Spent(), where))
        closed = Box(
            closed_name(name), "plain", title, (where, "of different sizes"), small,
            badges(inserted), facts=facts,
        )  # fmt: skip
        return Group(name, title, items, closed, small, level=3)

    def _row(self, part: DrawnPart, times: int, last: str) -> Box | Group:
        where = part.path if times == 1 else f"{part.path} … {last}"
        if part.whole is not None:
            return self._insertion(part.whole, part.path, part)
        if not part.steps or (len(part.steps) == 1 and not part.inserted):
            return self._whole(part, times, where)
        return self._block(part, times, where)

    def _whole(self, part: DrawnPart, times: int, where: str) -> Box:
        """Return a part that is one box."""
        name = f"{self.prefix}{part.path}"
        self.entries[part.path], self.exits[part.path] = [(name, True)], name
        self.drawn.setdefault(part.path, part)
        return replace(self._closed(part, times, where), name=name)

    def _closed(self, part: DrawnPart, times: int, where: str) -> Box:
        title = part.kind if part.is_block else part.path.rpartition(".")[2]
        title += f" ×{times}" if times > 1 else ""
        if part.is_block:
            lines: tuple[str, ...] = (where,)
        else:
            lines = (part.kind,) if part.kind != title else ()
        if part.runs > 1:
            lines = (*lines, f"runs {part.runs} times")
        small = cost_line(part.spent.parameters, part.spent.flops)
        if times > 1 and small:
            small = (f"{small[0]} each",)
        added = sum((one.added for one in part.inserted), Spent())
        facts = [Fact("path", where), Fact("class", part.kind), *facts_of(part.spent, added)]
        if part.note:
            facts.append(Fact("note", part.note))
        name = closed_name(f"{self.prefix}{part.path}")
        return Box(name, "plain", title, lines, small, badges(part.inserted), facts=tuple(facts))

    # ----------------------------------------------------------------------------------- blocks

    def _block(self, part: DrawnPart, times: int, where: str) -> Group:
        closed = self._closed(part, times, where)
        name = f"{self.prefix}{part.path}"
        items: list[Box | Group] = []
        entries: dict[str, list[tuple[str, bool]]] = {}
        exits: dict[str, str] = {}
        road = _road(part.steps)
        shared = {s.name for s in part.steps if s.insertion is not None and s.insertion.is_shared}
        for step in part.steps:
            inner = f"{part.path}.{step.name}"
            if step.insertion is not None:
                items.append(self._insertion(step.insertion, inner, None))
                entries[step.name], exits[step.name] = self.entries[inner], self.exits[inner]
            else:
                items.append(_step(step, f"{self.prefix}{inner}", inner))
                entries[step.name] = [(f"{self.prefix}{inner}", True)]
                exits[step.name] = f"{self.prefix}{inner}"
        self.entries[part.path] = []
        for step in part.steps:
            for read in step.reads:
                bold = (read, step.name) in road
                given = self.given.get(f"{part.path}.{step.name}", []) if read in shared else []
                for target, main in [(one, False) for one in given] or entries[step.name]:
                    if read:
                        self.links.append(Link(exits[read], target, (), bold and main))
                    else:
                        self.entries[part.path].append((target, bold and main))
        self.exits[part.path] = exits[part.steps[-1].name]
        own = (f"{name}: {counted(number, 'param')}" for name, number in part.own)
        small = (where, *closed.small, *own)
        return Group(name, closed.title, tuple(items), closed, small)

    def _insertion(self, one: Insertion, path: str, part: DrawnPart | None) -> Group:
        """Return an insertion, with the graph of its spec inside."""
        inside = f"{self.prefix}{path}/"
        drawing = mechanism(one.graph, Said(inside=inside, code=one.code))
        boxes = {box.name for box in drawing.boxes}
        items = tuple(
            item for item in drawing.items
            if item.name not in (f"{inside}input", f"{inside}{OUTPUT}")
        )  # fmt: skip
        self.entries[path] = []
        for link in drawing.links:
            if link.source == f"{inside}input":
                self.entries[path].append((link.target, link.road))
            elif link.target == f"{inside}{OUTPUT}":
                self.exits[path] = link.source
            elif link.source not in boxes:
                self.given.setdefault(path, []).append(link.target)
            else:
                self.links.append(link)
        if part is not None:
            self.drawn.setdefault(path, part)
        spent = cost_line(one.spent.parameters, one.spent.flops)
        title = path.rpartition(".")[2] if part is None else f"{one.spec} · {path}"
        facts = (
            Fact("path", path),
            Fact("spec", f"{one.spec}: {one.graph.spec.title or one.spec}"),
            Fact("position", one.where),
            *facts_of(one.spent, one.added),
        )
        name, small = f"{self.prefix}{path}", (one.where, *spent)
        closed = Box(closed_name(name), "inserted", title, (one.where,), spent, facts=facts)
        return Group(name, title, items, closed, small, inserted=True, level=4)

    # ------------------------------------------------------------------------------------ links

    def _connect(self, start: Box, end: Box, size: str) -> None:
        """Link the parts to one another."""
        parts = list(self.outline.parts)
        place = {part.path: number for number, part in enumerate(parts)}
        before: DrawnPart | None = None
        for part in parts:
            drawn = self.drawn.get(part.path, part)
            reads = list(part.reads)
            if len(reads) > MOST_READ:
                self.notes["a part that reads many others is linked only to the last of them"] = (
                    None
                )
                reads = reads[-1:]
            if not reads and before is not None:
                reads = [before.path]
            if not reads:
                self._enter(start.name, drawn.path, size)
            for read in reads:
                source = parts[place[read]]
                given = self.drawn.get(read, source)
                if place[given.path] < place[drawn.path]:  # else it is a repeat, shown by ×N
                    self._enter(self.exits[given.path], drawn.path, source.gives)
            before = part
        if before is not None:
            given = self.drawn.get(before.path, before)
            label = _label(before.gives)
            self.links.append(Link(self.exits[given.path], end.name, label, True, sizes=len(label)))
        else:
            self.links.append(Link(start.name, end.name, _label(size), True, sizes=1))
        known: dict[tuple[str, str], Link] = {}
        for link in self.links:
            known.setdefault((link.source, link.target), link)
        self.links = list(known.values())

    def _enter(self, source: str, path: str, gives: str) -> None:
        """Link a value to all its readers inside a part, and label one link."""
        targets = self.entries[path]
        labelled = next((n for n, (_, road) in enumerate(targets) if road), 0)
        for number, (target, road) in enumerate(targets):
            label = _label(gives) if number == labelled else ()
            self.links.append(Link(source, target, label, road, sizes=len(label)))


def _unseen(count: int, named: Sequence[tuple[str, int]]) -> str:
    """Return a note on parameters outside all boxes, by name."""
    words = [f"{name} ({number:,})" for name, number in named]
    if len(words) > MOST_NAMED:
        words = [*words[:MOST_NAMED], f"{len(words) - MOST_NAMED} more"]
    told = f": {listing(words)}" if words else ""
    return f"{counted(count, 'parameter')} {'is' if count == 1 else 'are'} in no box{told}"


def _where(stage: DrawnStage) -> str:
    """Return the path of a stage, or of its first and last part if it has no module."""
    paths = [part.path for part in stage.parts]
    if stage.path not in paths or len(paths) == 1:
        return stage.path
    return f"{paths[0]} … {paths[-1]}"


def _road(steps: tuple[Step, ...]) -> set[tuple[str, str]]:
    """Return the links on the path from the last step back to the block's input."""
    by_name = {step.name: step for step in steps}
    found: set[tuple[str, str]] = set()
    waiting = [steps[-1].name]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        step = by_name[name]
        reads = step.reads if step.kind == "combine" or len(step.reads) == 1 else step.reads[:1]
        found |= {(read, name) for read in reads}
        waiting += reads
    return found


def _step(step: Step, name: str, path: str) -> Box:
    small = cost_line(step.spent.parameters, step.spent.flops)
    facts = tuple(facts_of(step.spent, Spent(), path if step.lines else ""))
    return Box(name, step.kind, step.title, step.lines, small, facts=facts)


def _label(gives: str) -> tuple[str, ...]:
    return (gives,) if gives else ()
