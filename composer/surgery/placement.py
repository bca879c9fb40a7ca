"""Where a spec is to go: by the caller's choice, or by default the spec's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, get_args

from composer.errors import counted, error, listing
from composer.language.models import Insert, Match
from composer.language.paths import check_pattern, selects
from composer.language.position import Position, PositionError
from composer.language.selection import Selection, SelectionError
from composer.language.stand_in import BEGINS_ALIKE, STANDS_FOR
from composer.primitives import Spec
from composer.primitives.places import PLACES
from composer.surgery.composition import At
from composer.surgery.match import overlaid
from composer.surgery.near_miss import NearMiss

T = TypeVar("T")
Chosen = Selection | str | int | Sequence[int] | None

#: The noun for a site of each `at`.
NOUNS: Mapping[At, str] = {
    "block": "block",
    "stage": "stage",
    "stem": "stem",
    "head": "head",
    "module": "module",
    "conv": "convolution",
    "attention": "attention module",
    "norm": "norm",
    "mlp": "MLP",
    "pool": "global pool",
}


@dataclass(frozen=True)
class Placement:
    """Where a spec is to go, and which of those places are chosen."""

    at: At
    position: Position | None  # None for a replaced layer or module
    stages: Selection | None = None
    blocks: Selection | None = None
    every: int | None = None
    select: tuple[str, ...] = ()
    match: Match = field(default_factory=Match)
    types: tuple[str, ...] = ()  # class names of the modules to replace
    paths: frozenset[str] | None = None  # of the sites themselves
    by_spec: frozenset[str] = frozenset()  # choices made by the spec and not by the user

    @classmethod
    def of(
        cls,
        spec: Spec,
        at: At | None,
        position: str | None,
        stages: Chosen,
        blocks: Chosen,
        every: int | None,
        select: str | Sequence[str] | None,
        match: Mapping[str, object] | None,
        replaces: bool = False,
        types: str | Sequence[str] | None = None,
    ) -> Placement:
        """Return the placement.

        Raises:
            ComposerError: it is not valid, or the spec can't go there.
        """
        kinds = (types,) if isinstance(types, str) else tuple(types or ())
        _check_replacing(at, position, replaces, kinds)
        own = spec.insert if spec.insert and at in (None, spec.insert.at) else None
        where = at or (own.at if own else _usual(spec))
        _check_place(spec, where)
        if every is not None and every < 1:
            raise error("invalid-value", f"every is {every}", "use a number from 1")
        if where in ("stage", "stem", "head") and blocks is not None:
            message = f"blocks is given, and the sites are {NOUNS[where]}s"
            raise error("invalid-value", message, "use at='block'")
        chosen = (select,) if isinstance(select, str) else tuple(select or ())
        for pattern in chosen:
            try:
                check_pattern(pattern)
            except ValueError as failure:
                raise error("invalid-selection", str(failure)) from None
        if where == "module" and not chosen and not kinds:
            raise error(
                "invalid-selection",
                "at='module' needs a choice of modules, and none is given",
                "select some: 'layer3.*.conv2', or 're:layer[34].*'"
                + ("; or give their class: type='SqueezeExcite'" if replaces else ""),
            )
        return cls(
            where,
            None if replaces else _position(where, position, own),
            _selection(stages) if stages is not None else (own.stages if own else None),
            _selection(blocks) if blocks is not None else (own.blocks if own else None),
            every,
            chosen,
            _match(where, own, match),
            kinds,
            by_spec=frozenset(_of_spec(own, stages=stages, blocks=blocks, position=match)),
        )

    @property
    def noun(self) -> str:
        """The noun for a site."""
        return NOUNS[self.at]

    @property
    def swaps(self) -> bool:
        """Whether it replaces modules, whatever they compute."""
        return self.position is None and STANDS_FOR.get(self.at) not in BEGINS_ALIKE

    def only(self, paths: Sequence[str]) -> Placement:
        """Return the placement for modules at some paths, instead of any other choice."""
        return replace(
            self, stages=None, blocks=None, every=None, select=(), match=Match(), types=(),
            paths=frozenset(paths),
        )  # fmt: skip

    def takes(self, path: str) -> bool:
        """Return whether a site may be at a path, where the paths are already known."""
        return self.paths is None or path in self.paths

    def thinned(
        self, found: Sequence[T], path: Callable[[T], str]
    ) -> tuple[list[T], list[NearMiss]]:
        """Return the first and every n-th match, if requested, and the others."""
        every = self.every or 1
        misses = [
            NearMiss(path(one), f"every={every} skips it", by_choice=True)
            for n, one in enumerate(found)
            if n % every
        ]
        return list(found[::every]), misses

    def check_range(self, counts: Sequence[int], layers: int | None = None) -> None:
        """Refuse a position beyond what there is.

        Args:
            counts: the number of blocks in each stage.
            layers: the number of layers, where those are chosen.

        Raises:
            ComposerError: code ``no-such-position``.
        """
        wanted = [
            ("stage", "stages", self.stages, len(counts), ""),
            ("block", "blocks", self.blocks, max(counts, default=0), " in the longest stage"),
            (self.noun, "position", self.match.position, layers or 0, ""),
        ]
        for what, key, selection, count, where in wanted:
            beyond = selection.beyond(count) if selection and count else None
            if beyond is not None and key in self.by_spec:
                is_one = count == 1
                raise error(
                    "no-such-position",
                    f"the spec goes to {key} {selection} (its insert says so), and there "
                    f"{'is' if is_one else 'are'} {counted(count, what)}{where}",
                    f"choose others, as with --{_OPTIONS[key]}1 or, in Python, {_IN_PYTHON[key]}",
                )
            if beyond is not None:
                there_are = f"there {'is' if count == 1 else 'are'} {counted(count, what)}"
                raise error(
                    "no-such-position", f"there is no {what} {beyond}", f"{there_are}{where}"
                )

    def reason_against(
        self, stage: int | None, block: int | None, path: str, counts: Sequence[int]
    ) -> str | None:
        """Return why a place is not chosen, or None where it is.

        Args:
            stage: its stage, if any.
            block: its block, if any.
            path: its path.
            counts: the number of blocks in each stage.
        """
        if self.stages is not None and stage not in self.stages.of(len(counts)):
            here = f"in stage {stage}" if stage else "in no stage"
            return f"it is {here}, and stages {self.stages} are chosen"
        if self.blocks is not None and not block:
            return f"it is in no block, and blocks {self.blocks} are chosen"
        if self.blocks is not None and stage and block not in self.blocks.of(counts[stage - 1]):
            return f"it is block {block} of its stage, and blocks {self.blocks} are chosen"
        if self.paths is not None and not any(_around(path, site) for site in self.paths):
            return "it was not one of the sites"
        if self.select and not any(selects(pattern, path) for pattern in self.select):
            return f"its path does not match {' or '.join(map(repr, self.select))}"
        return None


def _around(path: str, site: str) -> bool:
    return path == site or site.startswith(f"{path}.") or path.startswith(f"{site}.") or not path


def _usual(spec: Spec) -> At:
    """Return where a spec goes if it does not specify that."""
    return next((at for at in NOUNS if STANDS_FOR.get(at, "") == spec.stands_for), "block")


def _check_place(spec: Spec, at: str) -> None:
    """Refuse a place where a spec can't go.

    Raises:
        ComposerError: with the way out.
    """
    if at not in get_args(At):
        words = [repr(word) for word in get_args(At)]
        raise error("invalid-value", f"at is {at!r}", f"use {listing(words, last='or')}")
    layer = STANDS_FOR.get(at)
    if layer is not None and spec.stands_for != layer:
        noun = NOUNS[at]  # type: ignore[index]
        raise error(
            "not-a-stand-in",
            f"{spec.name!r} does not stand for {_a(noun)}, so it can't replace one",
            f"use at={_usual(spec)!r}, or write 'stands_for: {layer}' in the spec",
        )
    if layer is None and spec.stands_for in ("conv2d", "pool"):
        usual = _usual(spec)
        raise error(
            "stand-in",
            f"{spec.name!r} stands for a {NOUNS[usual]}, so it can't go to a {at}",
            f"use at={usual!r}",
        )
    tokens, feature_map = "b, n, c", "b, c, h, w"
    wanted = tokens if layer == "attention" else feature_map
    taken = [wanted.split(", ")]
    if layer != "conv2d":  # a map's pixels are also tokens; and it may have other dimensions
        taken += [tokens.split(", "), *(["b", "c", *places] for places in PLACES.values())]
    if sorted(spec.input) not in map(sorted, taken):
        what = "an attention module takes" if layer == "attention" else "a feature map is"
        raise error(
            "not-a-map",
            f"{spec.name!r} takes [{', '.join(spec.input)}], and {what} [{wanted}]",
            f"write 'input: [{wanted}]'",
        )


def _check_replacing(
    at: At | None, position: str | None, replaces: bool, types: Sequence[str]
) -> None:
    """Refuse arguments that don't go with replacing modules, or that need it.

    Raises:
        ComposerError: with the way out.
    """
    if types and not replaces:
        message = f"type is {types[0]!r}, which chooses modules to replace"
        raise error("invalid-value", message, "add replace=True, or choose with select")
    if not replaces:
        return
    if at != "module":
        here = "not given" if at is None else repr(at)
        way_out = "use at='module', and select=… or type=…"
        if at in STANDS_FOR:
            way_out = f"omit replace: at={at!r} replaces already; or {way_out}"
        raise error("invalid-value", f"replace is for at='module', and at is {here}", way_out)
    if position is not None:
        message = f"position is {position!r}, and a replaced module has none"
        raise error("invalid-value", message, "omit the position")


def _position(at: At, position: str | None, own: Insert | None) -> Position | None:
    """Return the position, None for a replaced layer."""
    if at in STANDS_FOR:
        if position not in (None, "replace"):
            message = f"position is {position!r}, and a replaced {NOUNS[at]} has none"
            raise error("invalid-value", message, "omit the position")
        return None
    default = "residual" if at == "block" else "output"
    try:
        chosen = Position(position or (own.position if own else None) or default)
    except PositionError as failure:
        raise error("invalid-value", str(failure)) from None
    if at in ("stage", "stem", "head") and chosen.kind == "residual":
        raise error(
            "invalid-value",
            f"a {at} has no residual branch",
            "use at='block', or position='output'",
        )
    if at in ("stage", "stem", "head") and chosen.kind == "after":
        raise error(
            "invalid-value", f"position is {str(chosen)!r}, which needs a block", "use at='block'"
        )
    return chosen


def _match(at: At, own: Insert | None, given: Mapping[str, object] | None) -> Match:
    if at not in STANDS_FOR:
        if given:
            raise error(
                "invalid-match",
                f"match chooses convolutions, and the sites are {NOUNS[at]}s",
                "choose with stages, blocks or select",
            )
        return Match()
    found = overlaid(own.match if own else None, given)
    foreign = [k for k, v in found if v is not None and k not in ("position", "name")]
    if at == "attention" and foreign:
        raise error(
            "invalid-match",
            f"an attention module has no {foreign[0]}",
            "match it by position or name",
        )
    if at not in ("conv", "attention") and any(value is not None for _, value in found):
        message = f"match chooses convolutions, and the sites are {NOUNS[at]}s"
        raise error("invalid-match", message, "choose with stages, blocks or select")
    return found


#: The user's own form of each choice of a spec.
_OPTIONS = {"stages": "stages ", "blocks": "blocks ", "position": "match position="}
_IN_PYTHON = {"stages": "stages=1", "blocks": "blocks=1", "position": 'match={"position": 1}'}


def _of_spec(
    own: Insert | None, *, stages: Chosen, blocks: Chosen, position: Mapping[str, object] | None
) -> Iterator[str]:
    """Yield the choices that a spec makes where the user makes none."""
    if own is None:
        return
    if stages is None and own.stages is not None:
        yield "stages"
    if blocks is None and own.blocks is not None:
        yield "blocks"
    if (
        own.match is not None
        and own.match.position is not None
        and "position" not in (position or {})
    ):
        yield "position"


def _selection(chosen: Chosen) -> Selection:
    if isinstance(chosen, Selection):
        return chosen
    try:
        if isinstance(chosen, (str, int)):
            return Selection.parse(str(chosen))
        return Selection.parse(",".join(str(n) for n in chosen or ()))
    except SelectionError as failure:
        raise error("invalid-selection", str(failure)) from None


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouM' else 'a'} {noun}"
