"""The outline of a model, composed or not, for its picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

from torch import fx, nn

from composer.analysis.anatomy import anatomy
from composer.analysis.copies import shell_of
from composer.analysis.edited import class_before_edits
from composer.analysis.parts import Anatomy
from composer.analysis.paths import is_inside
from composer.analysis.probe import Call
from composer.analysis.recording import Untraceable
from composer.analysis.traces import blank
from composer.drawing.outline import SHARED, DrawnPart, DrawnStage, Insertion, Outline, Spent, Step
from composer.drawing.steps import AT_INPUT, described, steps_of
from composer.graph.frontend import graph_of
from composer.graph.graph import Graph
from composer.graph.passes import compile_graph
from composer.language.collecting import uncollected
from composer.lower.code import code_by_node
from composer.measure.cost import FakeRun, FlopCounter, flops, parameters
from composer.measure.inside import Inside
from composer.surgery.composition import Edit, EditedSite, composition

_LAYERS = {"conv": "a convolution", "attention": "an attention module", "module": "a module",
           "norm": "a norm", "mlp": "an MLP", "pool": "the global pool"}  # fmt: skip
AT_END = "at the end of the block"
_WHERE = {
    "residual": "before the add",
    "output": "at the output",
    "input": AT_INPUT,
    "shared": SHARED,
}


def outline(model: nn.Module, name: str, code: bool = False) -> Outline:
    """Return the outline of a model.

    Args:
        model: as its library made it, or composed.
        name: its name in the picture, such as its MODEL string.
        code: whether insertions include the Python of their nodes.

    Raises:
        ComposerError: the model's forward pass fails.
    """
    with uncollected():
        return _Outliner(shell_of(model), name, code).outline()


class _Outliner:
    def __init__(self, model: nn.Module, name: str, code: bool) -> None:
        self.model, self.name, self.code = model, name, code
        self.known: Anatomy = anatomy(model)
        self.calls: dict[str, list[Call]] = {}
        for call in self.known.probe.calls:
            self.calls.setdefault(call.path, []).append(call)
        self.calls_inside = Inside(self.calls)
        record = composition(model)
        edits = record.edits if record is not None else ()
        self.sites = {site.module: (edit, site) for edit in edits for site in edit.inserted}
        self.sites_inside = Inside(self.sites)
        self.specs = tuple(dict.fromkeys(edit.spec.name for edit in edits))
        self.blocks = {part.path: part for part in (*self.known.blocks, *self.known.others)}
        self.wholes = {stage.whole.path: stage for stage in self.known.stages}
        self.given_by: dict[int, str] = {}
        self.graphs: dict[object, tuple[Graph, str]] = {}

    def outline(self) -> Outline:
        hosts = sorted(self._paths(""), key=lambda path: self.calls[path][0].order)
        parts = []
        for host in hosts:
            inside = [] if host in self.blocks or host in self.sites else self._sites_in(host)
            before = [path for path in inside if self.sites[path][1].position == "input"]
            after = [path for path in inside if path not in before]
            if isinstance(self.model.get_submodule(host), nn.Identity) and not inside:
                continue
            reads = self._reads(host)
            for path in before:
                parts.append(self._part(path, reads))
                reads = (path,)
            parts.append(self._part(host, reads))
            for path in after:
                parts.append(self._part(path, (parts[-1].path,)))
            gives = parts[-1].path
            self.given_by |= dict.fromkeys(self.calls[host][-1].outputs, gives)
        numbers = self._numbers(parts)
        rows: list[DrawnStage | tuple[DrawnPart, ...]] = []
        for number, run in groupby(zip(numbers, parts, strict=True), key=lambda pair: pair[0]):
            inside_row = tuple(part for _, part in run)
            path = next((s.whole.path for s in self.known.stages if s.number == number), "")
            rows.append(DrawnStage(number, path, inside_row) if number else inside_row)
        spent = Spent(parameters(self.model), self.known.probe.flops)
        unseen = tuple(self._unseen(parts))
        return Outline(
            self.name, self.specs, self.known.probe.input_shape, tuple(rows), spent, unseen
        )

    def _unseen(self, parts: list[DrawnPart]) -> Iterator[tuple[str, int]]:
        """Yield the parameters outside all parts: their names, or the name of an unseen module."""
        seen = {id(p) for part in parts for p in self.model.get_submodule(part.path).parameters()}
        around = {""} | {
            part.path[:at] for part in parts
            for at, letter in enumerate(part.path) if letter == "."
        }  # fmt: skip
        counts: dict[str, int] = {}
        for name, parameter in self.model.named_parameters():
            if id(parameter) in seen:
                continue
            whole = name
            while (outer := whole.rpartition(".")[0]) not in around:
                whole = outer
            counts[whole] = counts.get(whole, 0) + parameter.numel()
        yield from counts.items()

    # ----------------------------------------------------------------------------------- parts

    def _paths(self, path: str) -> Iterator[str]:
        """Yield the parts below a module: blocks, what was inserted beside them, all others."""
        marks = [*self.blocks, *self.wholes]
        for local, child in self.model.get_submodule(path).named_children():
            here = f"{path}.{local}" if path else local
            if here in self.blocks or here in self.sites:
                if here in self.calls:
                    yield here
            elif any(mark != here and is_inside(mark, here) for mark in marks):
                yield from self._paths(here)
            elif here in self.calls:
                yield here
            elif next(child.children(), None) is not None:
                yield from self._paths(here)

    def _sites_in(self, path: str) -> list[str]:
        """Return what was inserted inside a module, in the order it runs."""
        inside = (p for p in self.sites_inside.of(path) if p in self.calls)
        return sorted(inside, key=lambda p: self.calls[p][0].order)

    def _part(self, path: str, reads: tuple[str, ...]) -> DrawnPart:
        calls = self.calls[path]
        call, runs = calls[0], len(calls)
        module = self.model.get_submodule(path)
        spent = Spent(parameters(module), sum(one.flops for one in calls))
        if path in self.sites:
            insertion, gives = self._insertion(path, path), _gives(call)
            return DrawnPart(path, insertion.spec, gives, spent, False, (insertion,), reads=reads)
        inserted = tuple(self._insertion(p, path) for p in self._sites_in(path))
        if path not in self.blocks:
            inside = sum((one.spent for one in inserted), Spent())
            lines = described(module)
            kind = lines[0] if lines else ""
            gives = _gives(call)
            return DrawnPart(path, kind, gives, spent - inside, False, runs=runs, reads=reads)
        steps: tuple[Step, ...] = ()
        note = None
        try:
            forward = self.known.traces.of(call).evaluation
            steps = steps_of(module, forward, self._inside(path), self._by_name(inserted))
        except Untraceable as why:
            note = f"its forward can't be traced: {why}"
        inserted, steps = _where_there_is_an_add(inserted, steps)
        kind = class_before_edits(module).__name__
        own = tuple((name, p.numel()) for name, p in module.named_parameters(recurse=False))
        return DrawnPart(
            path, kind, _gives(call), spent, True, inserted, steps, note, runs, own, reads
        )

    def _by_name(self, inserted: tuple[Insertion, ...]) -> dict[str, Insertion]:
        return {one.name: one for one in inserted}

    def _inside(self, path: str) -> dict[str, list[Call]]:
        """Return the calls of a block's modules by their names in it."""
        start = len(path) + 1 if path else 0
        return {below[start:]: self.calls[below] for below in self.calls_inside.of(path)}

    def _reads(self, path: str) -> tuple[str, ...]:
        """Return the parts whose values a part takes."""
        inputs = self.calls[path][0].inputs
        found = {self.given_by[t]: None for t in inputs if t in self.given_by}
        return tuple(sorted(found, key=lambda p: self.calls[p][0].order))

    def _numbers(self, parts: list[DrawnPart]) -> list[int]:
        """Return the number of the stage that each part is in; 0 for none.

        What runs between two parts of a stage also belongs to it.
        """
        placed = [self.known.place_of(part.path)[0] or 0 for part in parts]
        for number in range(1, len(self.known.stages) + 1):
            where = [place for place, its in enumerate(placed) if its == number]
            for place in range(where[0], where[-1]) if where else ():
                placed[place] = number
        return placed

    # ----------------------------------------------------------------------------- insertions

    def _insertion(self, path: str, part: str) -> Insertion:
        edit, site = self.sites[path]
        module, call = self.model.get_submodule(path), self.calls[path][0]
        name = "" if path == part else path.removeprefix(f"{part}.")
        graph, digest = self._graph(edit, site)
        instead = tuple(self._replaced(site, call, name)) if site.replaced else ()
        spent = Spent(parameters(module), sum(one.flops for one in self.calls[path]))
        code = code_by_node(module) if self.code and isinstance(module, fx.GraphModule) else {}
        where = _where(edit, site, name)
        return Insertion(edit.spec.name, name, where, spent, graph, digest, instead, code)

    def _graph(self, edit: Edit, site: EditedSite) -> tuple[Graph, str]:
        """Return the graph of a site as in its spec, and its digest."""
        chosen = site.settings.closed
        if not (site.replaced or site.position == "shared"):
            chosen = replace(chosen, init=edit.init)  # the graph drops it once applied
        key = (id(edit), tuple(chosen.sizes.items()), chosen.layout, chosen.tokens, chosen.part)
        if key not in self.graphs:
            graph = compile_graph(graph_of(edit.spec, chosen), as_written=True)
            told = repr([(node.name, node.op) for node in graph.nodes])
            self.graphs[key] = graph, hashlib.sha256(told.encode()).hexdigest()
        return self.graphs[key]

    def _replaced(self, site: EditedSite, call: Call, name: str) -> Iterator[Step]:
        """Yield what a stand-in replaced: the layer first, then what was removed with it."""
        for number, (path, module) in enumerate(site.replaced):
            local = path.rpartition(".")[2]
            cost = 0
            with suppress(Exception):  # it may need more than one value
                if number == 0:
                    cost = _flops_of(module, call)
                else:
                    cost = flops(module, (1, site.channels, *site.size))
            yield Step(
                name if number == 0 else local,
                local,
                described(module),
                "layer",
                (),
                Spent(parameters(module), cost),
            )


def _where_there_is_an_add(
    inserted: tuple[Insertion, ...], steps: tuple[Step, ...]
) -> tuple[tuple[Insertion, ...], tuple[Step, ...]]:
    """Return insertions and steps; "before the add" stays only where an add reads the insertion."""
    added: set[str] = set()
    for step in reversed(steps):
        if step.title == "+" or (step.insertion is not None and step.name in added):
            added |= set(step.reads)

    def placed(one: Insertion) -> Insertion:
        at_end = one.where == _WHERE["residual"] and one.name not in added
        return replace(one, where=AT_END) if at_end else one

    return tuple(map(placed, inserted)), tuple(
        replace(step, insertion=placed(step.insertion)) if step.insertion is not None else step
        for step in steps
    )


def _flops_of(module: nn.Module, call: Call) -> int:
    """Return the multiply-adds of a layer on the first input of a call."""
    counter = FlopCounter()
    FakeRun.of(module)(module, lambda: blank(call.args[:1]), counter)
    return counter.total


def _where(edit: Edit, site: EditedSite, name: str) -> str:
    """Return the location of an insertion in its part, in words."""
    if site.position == "replace":
        return f"for {name}" if name else f"for {_LAYERS[edit.at]}"
    kind, _, of = site.position.partition(":")
    if kind == "after":
        return f"after {of}"
    if kind == "residual" and of:
        return f"before the add of branch {of}"
    return _WHERE.get(kind, kind)


def _gives(call: Call) -> str:
    """Return the shape of one image's value: ``256×56×56``."""
    shape = call.shape
    if shape is None:
        return ""
    return "×".join(map(str, shape[1:] if len(shape) > 1 else shape))
