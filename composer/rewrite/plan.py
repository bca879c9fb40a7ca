"""`plan`: every site an insertion would have, and why a near miss did not match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import get_args

import torch
from torch import nn

from composer.backbones.anatomy import Anatomy, Part, anatomy
from composer.backbones.model_string import ModelString
from composer.backbones.open import open_backbone
from composer.errors import ComposerError, Diagnostic, counted, error
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Begin, Graph, Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower
from composer.measure.cost import flops, parameters
from composer.primitives import Spec
from composer.rewrite.composition import At, Position
from composer.rewrite.place import Place, Placer
from composer.spec.expressions import Value
from composer.spec.selection import Selection, SelectionError

Chosen = Selection | str | int | Sequence[int] | None


@dataclass(frozen=True)
class Site:
    """One place where a module goes."""

    path: str
    name: str
    position: Position
    stage: int
    block: int | None
    spec: str
    layout: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    parameters: int
    flops: int
    note: str | None = None
    part: Part = field(repr=False, compare=False, kw_only=True)
    place: Place = field(repr=False, compare=False, kw_only=True)
    graph: Graph = field(repr=False, compare=False, kw_only=True)


@dataclass(frozen=True)
class NearMiss:
    """A block or stage that is no site, and why: by choice, or for what it was seen to be."""

    path: str
    reason: str
    by_choice: bool


@dataclass(frozen=True)
class Plan:
    """The sites of an insertion in the order they run, and what was passed over."""

    spec: Spec
    at: At
    position: Position
    init: Begin
    params: Mapping[str, Value]
    sites: tuple[Site, ...]
    near_misses: tuple[NearMiss, ...]
    input_shape: tuple[int, int, int]
    flops_before: int
    parameters_before: int

    def __str__(self) -> str:
        lines = [f"{self.spec.name} at {counted(len(self.sites), 'site')}"]
        for site in self.sites:
            size = "×".join(map(str, (site.channels, *site.size)))
            note = f"  ({site.note})" if site.note else ""
            lines.append(
                f"  {site.path}.{site.name}  {site.position}  {size}  "
                f"+{site.parameters:,} parameters{note}"
            )
        lines += [f"  not {miss.path}: {miss.reason}" for miss in self.near_misses]
        return "\n".join(lines)


def plan(
    model: nn.Module | str,
    spec: Spec | str,
    at: At | None = None,
    *,
    position: Position | None = None,
    stages: Chosen = None,
    blocks: Chosen = None,
    every: int | None = None,
    select: str | Sequence[str] | None = None,
    params: Mapping[str, Value] | None = None,
    init: Begin = "paper",
    expect: int | None = None,
) -> Plan:
    """Find every site for a spec in a model; nothing is changed.

    Args:
        model: a model, or a MODEL string such as ``"resnet50"``.
        spec: a spec, the name of a shipped one, a path, or the text itself.
        at: ``"block"`` or ``"stage"``; where the spec's own ``insert`` says unless told.
        position: ``"residual"``, the end of the residual branch before the add (a block's
            default), or ``"output"``.
        stages: which stages, from 1: ``"1,3"``, ``"1..-2"``, ``-1``.
        blocks: which blocks of each stage, likewise.
        every: keep the first of these sites, and each n-th after it.
        select: globs over module paths, such as ``"layer3.*"``.
        params: other values for the spec's params.
        init: ``"paper"``, or ``"identity"`` for a model that begins as the original computes.
        expect: how many sites there must be.

    Raises:
        ComposerError: no site matches, the count is not the one expected, or the spec does not
            suit the sizes at a site.
    """
    spec = load_spec(spec)
    if init not in get_args(Begin):
        raise error("invalid-init", f"{init!r} is not a way to begin", "say 'paper' or 'identity'")
    if isinstance(model, str):
        model = open_backbone(ModelString.parse(model))
    wish = _Wish.of(spec, at, position, stages, blocks, every, select)
    known = anatomy(model)
    parts, misses = _choose(known, wish)
    name = _free_name(model, [part.path for _, _, part in parts], spec.name)
    placer = Placer(model, known.traces)
    makers = _Makers(spec, dict(params or {}), init)
    sites = [
        makers.site(stage, block, part, name, placer.place(part, wish.position))
        for stage, block, part in parts
    ]
    if expect is not None and len(sites) != expect:
        raise error(
            "unexpected-count",
            f"{counted(expect, 'site')} expected, and {len(sites)} found",
            "look at them with --dry-run; choose others with --stages, --blocks or --select",
        )
    return Plan(
        spec,
        wish.at,
        wish.position,
        init,
        dict(params or {}),
        tuple(sites),
        tuple(misses),
        known.probe.input_shape,
        known.probe.flops,
        parameters(model),
    )


@dataclass(frozen=True)
class _Wish:
    at: At
    position: Position
    stages: Selection | None
    blocks: Selection | None
    every: int | None
    select: tuple[str, ...]

    @classmethod
    def of(
        cls,
        spec: Spec,
        at: At | None,
        position: Position | None,
        stages: Chosen,
        blocks: Chosen,
        every: int | None,
        select: str | Sequence[str] | None,
    ) -> _Wish:
        if sorted(spec.input) != ["b", "c", "h", "w"]:
            raise error(
                "not-a-map",
                f"{spec.name!r} takes [{', '.join(spec.input)}], and a feature map is [b, c, h, w]",
                "write 'input: [b, c, h, w]'",
            )
        own = spec.insert if spec.insert and at in (None, spec.insert.at) else None
        where: At = at or (own.at if own else "block")
        if where not in ("block", "stage"):
            raise error("invalid-value", f"at is {where!r}", "it may be 'block' or 'stage'")
        default: Position = "residual" if where == "block" else "output"
        spot: Position = position or (own.position if own else None) or default
        if spot not in ("residual", "output"):
            raise error(
                "invalid-value", f"position is {spot!r}", "it may be 'residual' or 'output'"
            )
        if where == "stage" and spot == "residual":
            raise error(
                "invalid-value",
                "a stage has no residual branch",
                "say at='block', or position='output'",
            )
        if every is not None and every < 1:
            raise error("invalid-value", f"every is {every}", "it counts from 1")
        if where == "stage" and blocks is not None:
            raise error(
                "invalid-value", "blocks are chosen, and the sites are stages", "say at='block'"
            )
        globs = (select,) if isinstance(select, str) else tuple(select or ())
        return cls(
            where,
            spot,
            _selection(stages) if stages is not None else (own.stages if own else None),
            _selection(blocks) if blocks is not None else (own.blocks if own else None),
            every,
            globs,
        )


def _selection(chosen: Chosen) -> Selection:
    if isinstance(chosen, Selection):
        return chosen
    try:
        if isinstance(chosen, (str, int)):
            return Selection.parse(str(chosen))
        return Selection.parse(",".join(str(n) for n in chosen or ()))
    except SelectionError as failure:
        raise error("invalid-selection", str(failure)) from None


_Candidate = tuple[int, int | None, Part]


def _choose(known: Anatomy, wish: _Wish) -> tuple[list[_Candidate], list[NearMiss]]:
    """Return what matches, in order, and what does not, with the reason."""
    matching: list[_Candidate] = []
    misses: list[NearMiss] = []
    everything = list(_candidates(known, wish.at))
    _check_range(known, wish)
    for stage, block, part in everything:
        reason = _reason_against(known, wish, stage, block, part)
        if reason:
            misses.append(NearMiss(part.path, reason, by_choice=reason != part.refusal))
        else:
            matching.append((stage, block, part))
    if wish.every:
        misses += [
            NearMiss(part.path, f"only every {wish.every}. one is taken", by_choice=True)
            for n, (_, _, part) in enumerate(matching)
            if n % wish.every
        ]
        matching = matching[:: wish.every]
    if not matching:
        raise _nothing(known, wish, everything, misses)
    return matching, misses


def _candidates(known: Anatomy, at: At) -> Iterator[_Candidate]:
    for stage in known.stages:
        if at == "stage":
            yield stage.number, None, stage.whole
        else:
            for number, block in enumerate(stage.blocks, start=1):
                yield stage.number, number, block


def _reason_against(
    known: Anatomy, wish: _Wish, stage: int, block: int | None, part: Part
) -> str | None:
    if wish.stages is not None and stage not in wish.stages.of(len(known.stages)):
        return f"it is in stage {stage}, and stages {wish.stages} are wanted"
    count = len(known.stages[stage - 1].blocks)
    if wish.blocks is not None and block not in wish.blocks.of(count):
        return f"it is block {block} of its stage, and blocks {wish.blocks} are wanted"
    if wish.select and not any(fnmatchcase(part.path, glob) for glob in wish.select):
        return f"its path does not match {' or '.join(map(repr, wish.select))}"
    return part.refusal


def _check_range(known: Anatomy, wish: _Wish) -> None:
    stages = len(known.stages)
    most = max((len(stage.blocks) for stage in known.stages), default=0)
    wanted = (("stage", wish.stages, stages), ("block", wish.blocks, most))
    for what, selection, count in wanted:
        beyond = selection.beyond(count) if selection and count else None
        if beyond is not None:
            there_are = f"there {'is' if count == 1 else 'are'} {counted(count, what)}"
            where = " in the longest stage" if what == "block" else ""
            raise error("no-such-position", f"there is no {what} {beyond}", f"{there_are}{where}")


def _nothing(
    known: Anatomy, wish: _Wish, everything: list[_Candidate], misses: list[NearMiss]
) -> ComposerError:
    if not everything:
        seen = counted(len(known.stages), "stage")
        return error(
            "no-sites",
            f"this backbone has no {wish.at} that could be found; {seen} seen",
            "try at='stage'" if known.stages else "look at it with 'composer sites'",
        )
    reasons = {miss.reason for miss in misses}
    there = ", ".join(
        f"stage {s.number} {s.whole.path} ({counted(len(s.blocks), 'block')})"
        for s in known.stages
    )
    why = f": {misses[0].reason}" if len(reasons) == 1 else ""
    return error(
        "no-sites",
        f"none of the {counted(len(everything), wish.at)} matches{why}",
        f"there are {there}",
    )


def _free_name(model: nn.Module, paths: list[str], name: str) -> str:
    """Return `name`, or with a number behind, so that no owner has an attribute of it yet."""
    owners = [model.get_submodule(path) for path in paths]
    free, number = name, 1
    while any(hasattr(owner, free) for owner in owners):
        number += 1
        free = f"{name}_{number}"
    return free


class _Makers:
    """Compiles the spec once for each size, and counts what it costs there."""

    def __init__(self, spec: Spec, params: dict[str, Value], init: Begin) -> None:
        self.spec, self.params, self.init = spec, params, init
        self.made: dict[object, tuple[Graph, int, int]] = {}

    def site(
        self, stage: int, block: int | None, part: Part, name: str, place: Place
    ) -> Site:
        shape = part.shape
        assert shape is not None
        if shape not in self.made:
            self.made[shape] = self._make(part)
        graph, count, cost = self.made[shape]
        return Site(
            part.path,
            name,
            place.position,
            stage,
            block,
            self.spec.name,
            shape.layout,
            shape.channels,
            shape.size,
            count,
            cost,
            place.note,
            part=part,
            place=place,
            graph=graph,
        )

    def _make(self, part: Part) -> tuple[Graph, int, int]:
        shape = part.shape
        assert shape is not None
        sizes = {"c": shape.channels, "h": shape.size[0], "w": shape.size[1]}
        settings = Settings(sizes, self.params, shape.layout, self.init)
        try:
            graph = compile_graph(graph_of(self.spec, settings))
        except ComposerError as failure:
            seen = f"{shape.channels}×{shape.size[0]}×{shape.size[1]}"
            note = Diagnostic(
                "at-site", f"{part.path} is the first such place; it gives {seen}", severity="note"
            )
            if any(d.code == "unknown-param" for d in failure.diagnostics):
                raise
            raise ComposerError((*failure.diagnostics, note)) from None
        with torch.device("meta"):
            module = lower(graph).eval()
        named = {**sizes, "b": 1}
        cost = flops(module, tuple(named[axis] for axis in shape.layout))
        return graph, parameters(module), cost
