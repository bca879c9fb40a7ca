"""`plan`: every site an insertion would have, and why other places don't match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from torch import nn

from composer.analysis.anatomy import anatomy
from composer.analysis.copies import shell_of
from composer.analysis.one_thread import one_thread
from composer.analysis.parts import Anatomy
from composer.errors import ComposerError, Diagnostic, counted, error
from composer.graph.frontend import load_spec
from composer.graph.graph import Init
from composer.language.expressions import Value
from composer.measure.cost import parameters
from composer.measure.inputs import Inputs
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.primitives import Spec
from composer.surgery.candidates import Candidate, candidates
from composer.surgery.change import WrittenIn
from composer.surgery.composition import At, PrefixTokens
from composer.surgery.make import Made, Maker, with_size
from composer.surgery.near_miss import NearMiss
from composer.surgery.nothing import none_matches, nothing_found
from composer.surgery.place import NoPlace, Place, Placer
from composer.surgery.placement import Chosen, Placement
from composer.surgery.site import Addition, Plan, SharedSite, Site
from composer.surgery.stand_ins import StandIns, free_name
from composer.surgery.swaps import Swaps
from composer.surgery.unwrapped import unwrapped

__all__ = ["NearMiss", "Plan", "Site", "plan", "plan_again"]


@one_thread()
def plan(
    model: nn.Module | str,
    spec: Spec | str,
    at: At | None = None,
    *,
    position: str | None = None,
    stages: Chosen = None,
    blocks: Chosen = None,
    every: int | None = None,
    select: str | Sequence[str] | None = None,
    match: Mapping[str, object] | None = None,
    params: Mapping[str, Value] | None = None,
    init: Init = "paper",
    prefix_tokens: PrefixTokens = "pass",
    expect: int | None = None,
    example_inputs: Any = None,
    replace: bool = False,
    type: str | Sequence[str] | None = None,  # noqa: A002 - the word of those who ask
    trust_code: bool = False,  # noqa: ARG001 - `composer.api` opens the folder with it
) -> Plan:
    """Find every site for a spec in a model; nothing is changed.

    Args:
        model: a model, or a MODEL string such as ``"resnet50"``.
        spec: a spec, the name of a shipped one, a path, or the text itself.
        at: ``"block"`` or ``"stage"``; ``"stem"``, after it, or ``"head"``, before it;
            ``"module"``, any that `select` names; or ``"conv"``, ``"attention"``, ``"norm"``,
            ``"mlp"`` or ``"pool"`` to replace such layers; by default as the spec's own
            ``insert`` says.
        position: ``"residual"``, the end of the residual branch before the add (a block's
            default), of several branches the last, or that of ``"residual:attn"`` or
            ``"residual:1"``; ``"input"``; ``"output"``; or ``"after:conv2"``, after the child
            of that name, or else the second convolution.
        stages: which stages, from 1: ``"1,3"``, ``"1..-2"``, ``-1``.
        blocks: which blocks of each stage, in the same form.
        every: keep the first of these sites, and every n-th after it.
        select: module paths, globs over them such as ``"layer3.*"``, or regular expressions such
            as ``"re:layer[34]"``.
        match: which convolutions, such as ``{"kernel": 3, "depthwise": False}``, overriding the
            spec; None matches any.
        params: other values for the spec's params.
        init: ``"paper"``, or ``"identity"`` for a model that starts out equal to the original.
        prefix_tokens: ``"pass"``: tokens without a place in the map, such as a class token,
            are passed through; or ``"join"``: they take part like the places.
        expect: the number of sites that there must be.
        example_inputs: inputs of the model's forward, if that is not one image of a size that
            Composer finds: a tensor, a tuple of arguments, a mapping of keyword arguments, or
            ``(args, kwargs)``.
        replace: with ``at="module"``, whether the spec replaces existing modules: those that
            `select` or `type` chooses, if they map one feature map to one of the same shape.
        type: which modules are replaced, by the name of their class or of a base class, such as
            ``"SqueezeExcite"``; or several such names.
        trust_code: for a folder, whether code that its recipe names may be run; see
            `composer.load`.

    Raises:
        ComposerError: no site matches, the count is not the one expected, or the spec does not
            suit the sizes at a site.
    """
    spec = load_spec(spec)
    if init not in get_args(Init):
        raise error("invalid-init", f"{init!r} is not an init", "use 'paper' or 'identity'")
    if isinstance(model, str):
        model = open_backbone(ModelString.parse(model))
    model = shell_of(unwrapped(model))
    if prefix_tokens not in get_args(PrefixTokens):
        message = f"prefix_tokens can't be {prefix_tokens!r}"
        raise error("invalid-value", message, "use 'pass' or 'join'")
    placement = Placement.of(
        spec, at, position, stages, blocks, every, select, match, replace, type
    )
    if placement.swaps and init == "identity":
        beside = ", or insert it after them: omit replace" if replace else ""
        raise error(
            "no-identity",
            f"{spec.name!r} replaces modules that compute something else, so the model can't "
            "start as identity",
            f"start as in the paper (init='paper'){beside}",
        )
    inputs = None if example_inputs is None else Inputs.examples(model, example_inputs)
    maker = Maker(spec, dict(params or {}), init, prefix_tokens)
    found = _plan(model, placement, maker, inputs)
    if expect is not None and len(found.sites) != expect:
        raise error(
            "unexpected-count",
            f"{counted(expect, 'site')} expected, and {len(found.sites)} found",
            "list them with --dry-run; choose others with --stages, --blocks or --select",
        )
    return found


@one_thread()
def plan_again(
    model: nn.Module,
    spec: Spec,
    at: At,
    position: str,
    paths: Sequence[str],
    params: Mapping[str, Value],
    init: Init,
    prefix_tokens: PrefixTokens = "pass",
) -> Plan:
    """Find the sites at some paths only, wherever the spec itself would go.

    Raises:
        ComposerError: none of them is a valid site any more.
    """
    replaces = at == "module" and position == "replace"
    placement = Placement.of(
        spec, at, None if replaces else position, None, None, None, "*", None, replaces
    )
    return _plan(model, placement.only(paths), Maker(spec, params, init, prefix_tokens))


def _plan(
    model: nn.Module, placement: Placement, maker: Maker, inputs: Inputs | None = None
) -> Plan:
    known = anatomy(model, inputs)
    shared: Sequence[SharedSite] = ()
    if placement.swaps:
        sites, misses = Swaps(model, known, placement, maker).found()
    elif placement.position is None:
        found = StandIns(model, known, placement, maker).found()
        sites, shared, misses = found.sites, found.shared, found.misses
    else:
        sites, misses = _additions(model, known, placement, maker)
    return Plan(
        spec=maker.spec,
        placement=placement,
        init=maker.init,
        params=dict(maker.params),
        prefix_tokens=maker.prefix_tokens,
        sites=tuple(sites),
        shared=tuple(shared),
        near_misses=tuple(misses),
        inputs=known.probe.inputs,
        flops_before=known.probe.flops,
        parameters_before=parameters(model),
        has_numbers=known.probe.has_numbers,
        entry=known.probe.entry,
    )


# ------------------------------------------------------------------------- what is added to


def _additions(
    model: nn.Module, known: Anatomy, placement: Placement, maker: Maker
) -> tuple[list[Site], list[NearMiss]]:
    """Return the sites in blocks, stages or other modules, in order, and the skipped places."""
    candidates, misses = _choose(known, placement)
    count = len(candidates) + len(misses)
    placer = Placer(model, known)
    placed: list[tuple[Candidate, Place]] = []
    for candidate in candidates:
        position = candidate.position or placement.position
        assert position is not None
        try:
            place = placer.place(candidate.part, position)
        except NoPlace as why:
            misses.append(NearMiss(candidate.part.path, str(why), by_choice=False))
            continue
        if placement.takes(place.part.path):
            placed.append((candidate, place))
    placed, others = placement.thinned(placed, lambda one: one[1].part.path)
    misses += others
    if not placed:
        raise _none(known, placement, count, misses)
    _check_apart(placed)
    name = free_name(model, [place.part.path for _, place in placed], maker.spec.name)
    sites = []
    for candidate, place in placed:
        made = _made(maker, place)
        sites.append(
            Site(
                path=place.part.path,
                name=name,
                position=place.position,
                channels=place.shape.channels,
                size=place.shape.size,
                stage=candidate.stage,
                block=candidate.block,
                spec=maker.spec.name,
                layout=place.shape.layout,
                parameters=made.parameters,
                flops=made.flops * candidate.part.times,
                note=with_size(place.note, made),
                how=Addition(place),
                graph=made.graph,
            )
        )
    return sites, misses


def _check_apart(placed: Sequence[tuple[Candidate, Place]]) -> None:
    """Refuse two sites inside one forward: the second would be in the first one's edited source."""
    written = Counter(p.part.path for _, p in placed if isinstance(p.change, WrittenIn))
    twice = next((path for path, times in written.items() if times > 1), None)
    if twice is not None:
        raise error(
            "sites-meet",
            f"two of the sites are inside the forward of {twice}",
            "insert at one first and then at the other, chosen with --select",
        )


def _made(maker: Maker, place: Place) -> Made:
    shape = place.shape
    try:
        return maker.at(shape)
    except ComposerError as failure:
        if any(d.code == "unknown-param" for d in failure.diagnostics):
            raise
        seen = "×".join(map(str, (shape.channels, *shape.size)))
        note = Diagnostic(
            "at-site", f"{place.part.path} is the first such place; it outputs {seen}",
            severity="note",
        )  # fmt: skip
        raise ComposerError((*failure.diagnostics, note)) from None


def _choose(known: Anatomy, placement: Placement) -> tuple[list[Candidate], list[NearMiss]]:
    """Return what matches, in order, and what does not, with reasons."""
    matching: list[Candidate] = []
    misses: list[NearMiss] = []
    counts = [len(stage.blocks) for stage in known.stages]
    placement.check_range(counts)
    everything = list(candidates(known, placement.at))
    for one in everything:
        reason = placement.reason_against(one.stage, one.block, one.part.path, counts)
        if reason:
            misses.append(NearMiss(one.part.path, reason, by_choice=True))
        elif one.part.refusal and str(placement.position).startswith(("residual", "output")):
            misses.append(NearMiss(one.part.path, one.part.refusal, by_choice=False))
        else:
            matching.append(one)
    if not matching:
        raise _none(known, placement, len(everything), misses)
    return matching, misses


def _none(
    known: Anatomy, placement: Placement, count: int, misses: Sequence[NearMiss]
) -> ComposerError:
    """Return the error for no site: what there is, and why it does not match."""
    if not count and known.is_traced:
        return nothing_found(
            placement.noun,
            "torch.fx traced it, and its blocks no longer run as modules",
            "insert into the model before it is traced, or use at='module' with select",
        )
    if not count:
        way_out = "try at='stage'" if known.stages else "inspect it with 'composer sites'"
        return nothing_found(placement.noun, f"{counted(len(known.stages), 'stage')} seen", way_out)
    there = ", ".join(
        f"stage {s.number} {s.whole.path} ({counted(len(s.blocks), 'block')})" for s in known.stages
    )
    return none_matches(placement.noun, count, misses, there)
