"""`plan`: every site an insertion would have, and why a near miss did not match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from torch import nn

from composer.backbones.anatomy import Anatomy, Part, anatomy
from composer.backbones.model_string import ModelString
from composer.backbones.open import open_backbone
from composer.errors import ComposerError, Diagnostic, counted, error
from composer.graph.frontend import load_spec
from composer.graph.graph import Begin
from composer.measure.cost import parameters
from composer.primitives import Spec
from composer.rewrite.composition import At, Position
from composer.rewrite.make import Made, Maker
from composer.rewrite.place import Placer
from composer.rewrite.site import Addition, NearMiss, Plan, Site
from composer.rewrite.stand_ins import StandIns, free_name
from composer.rewrite.wish import Chosen, Wish, none_matches, nothing_found
from composer.spec.expressions import Value

__all__ = ["NearMiss", "Plan", "Site", "plan", "plan_again"]


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
    match: Mapping[str, object] | None = None,
    params: Mapping[str, Value] | None = None,
    init: Begin = "paper",
    expect: int | None = None,
) -> Plan:
    """Find every site for a spec in a model; nothing is changed.

    Args:
        model: a model, or a MODEL string such as ``"resnet50"``.
        spec: a spec, the name of a shipped one, a path, or the text itself.
        at: ``"block"`` or ``"stage"``, or ``"conv"`` or ``"attention"`` to take the place of
            such layers; where the spec's own ``insert`` says unless told.
        position: ``"residual"``, the end of the residual branch before the add (a block's
            default), or ``"output"``.
        stages: which stages, from 1: ``"1,3"``, ``"1..-2"``, ``-1``.
        blocks: which blocks of each stage, likewise.
        every: keep the first of these sites, and each n-th after it.
        select: globs over module paths, such as ``"layer3.*"``.
        match: which convolutions, such as ``{"kernel": 3, "depthwise": False}``, over what the
            spec says; None takes any.
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
    wish = Wish.of(spec, at, position, stages, blocks, every, select, match)
    found = _plan(model, wish, Maker(spec, dict(params or {}), init))
    if expect is not None and len(found.sites) != expect:
        raise error(
            "unexpected-count",
            f"{counted(expect, 'site')} expected, and {len(found.sites)} found",
            "look at them with --dry-run; choose others with --stages, --blocks or --select",
        )
    return found


def plan_again(
    model: nn.Module,
    spec: Spec,
    at: At,
    position: Position,
    paths: Sequence[str],
    params: Mapping[str, Value],
    init: Begin,
) -> Plan:
    """Find the sites at some paths alone, wherever the spec itself would go.

    Raises:
        ComposerError: nothing can go to any of them any more.
    """
    wish = Wish.of(spec, at, position, None, None, None, None, None)
    return _plan(model, wish.only(paths), Maker(spec, params, init))


def _plan(model: nn.Module, wish: Wish, maker: Maker) -> Plan:
    known = anatomy(model)
    if wish.position == "replace":
        found = StandIns(model, known, wish, maker).found()
        sites, shared, misses = found.sites, found.shared, found.misses
    else:
        sites, misses = _additions(model, known, wish, maker)
        shared = []
    return Plan(
        maker.spec,
        wish.at,
        wish.position,
        maker.init,
        dict(maker.params),
        tuple(sites),
        tuple(shared),
        tuple(misses),
        known.probe.input_shape,
        known.probe.flops,
        parameters(model),
    )


# ----------------------------------------------------------------------------- blocks and stages

_Candidate = tuple[int, int | None, Part]


def _additions(
    model: nn.Module, known: Anatomy, wish: Wish, maker: Maker
) -> tuple[list[Site], list[NearMiss]]:
    """Return the sites in blocks or stages, in order, and what was passed over."""
    parts, misses = _choose(known, wish)
    name = free_name(model, [part.path for _, _, part in parts], maker.spec.name)
    placer = Placer(model, known.traces)
    sites = []
    for stage, block, part in parts:
        shape = part.shape
        assert shape is not None
        place = placer.place(part, wish.position)
        made = _made(maker, part)
        sites.append(
            Site(
                part.path,
                name,
                place.position,
                stage,
                block,
                maker.spec.name,
                shape.layout,
                shape.channels,
                shape.size,
                made.parameters,
                made.flops,
                place.note,
                how=Addition(part, place),
                graph=made.graph,
            )
        )
    return sites, misses


def _made(maker: Maker, part: Part) -> Made:
    shape = part.shape
    assert shape is not None
    try:
        return maker.at(shape)
    except ComposerError as failure:
        if any(d.code == "unknown-param" for d in failure.diagnostics):
            raise
        seen = "×".join(map(str, (shape.channels, *shape.size)))
        note = Diagnostic(
            "at-site", f"{part.path} is the first such place; it gives {seen}", severity="note"
        )
        raise ComposerError((*failure.diagnostics, note)) from None


def _choose(known: Anatomy, wish: Wish) -> tuple[list[_Candidate], list[NearMiss]]:
    """Return what matches, in order, and what does not, with the reason."""
    matching: list[_Candidate] = []
    misses: list[NearMiss] = []
    everything = list(_candidates(known, wish.at))
    counts = [len(stage.blocks) for stage in known.stages]
    wish.check_range(counts)
    for stage, block, part in everything:
        reason = wish.reason_against(stage, block, part.path, counts)
        if reason or part.refusal:
            misses.append(NearMiss(part.path, reason or part.refusal or "", bool(reason)))
        else:
            matching.append((stage, block, part))
    matching, others = wish.thinned(matching, lambda candidate: candidate[2].path)
    misses += others
    if matching:
        return matching, misses
    if not everything:
        way_out = "try at='stage'" if known.stages else "look at it with 'composer sites'"
        raise nothing_found(wish.noun, f"{counted(len(known.stages), 'stage')} seen", way_out)
    there = ", ".join(
        f"stage {s.number} {s.whole.path} ({counted(len(s.blocks), 'block')})"
        for s in known.stages
    )
    raise none_matches(wish.noun, len(everything), misses, there)


def _candidates(known: Anatomy, at: At) -> Iterator[_Candidate]:
    for stage in known.stages:
        if at == "stage":
            yield stage.number, None, stage.whole
        else:
            for number, block in enumerate(stage.blocks, start=1):
                yield stage.number, number, block
