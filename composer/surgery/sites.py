"""`sites`: a backbone's anatomy, and every place something can go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import nn

from composer.analysis.anatomy import anatomy
from composer.analysis.copies import shell_of
from composer.analysis.one_thread import one_thread
from composer.analysis.parts import Anatomy, Part
from composer.analysis.recording import Untraceable
from composer.analysis.residual import branches
from composer.errors import counted
from composer.language.position import Position
from composer.measure.inputs import Inputs
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery.layers import attention_modules, convolutions
from composer.surgery.place import NoPlace, Placer
from composer.surgery.unwrapped import unwrapped
from composer.surgery.why import why
from composer.visible import visible_line


@dataclass(frozen=True)
class PartPlaces:
    """A block, a stage, the stem or the head: its output, and where in it something can go.

    `branches` are the children in each residual branch of a block with several.
    """

    path: str
    kind: str
    channels: int | None
    size: tuple[int, ...] | None
    layout: tuple[str, ...] | None
    prefix_tokens: int
    positions: tuple[str, ...]
    branches: tuple[tuple[str, ...], ...]
    note: str | None

    @property
    def gives(self) -> str:
        """Its output in a few characters: ``768×14×14 +1``."""
        if self.channels is None:
            return ""
        prefix = f" +{self.prefix_tokens}" if self.prefix_tokens else ""
        return "×".join(map(str, (self.channels, *(self.size or ())))) + prefix

    @property
    def places(self) -> str:
        """Where in it something can go, in words."""
        named = [f"residual:{number}" for number in range(1, len(self.branches) + 1)]
        shown = [
            f"{name} ({', '.join(children)})"
            for name, children in zip(named, self.branches, strict=True)
        ]
        words = [p for p in self.positions if not (shown and p == "residual")]
        return ", ".join([*shown, *words]) or "none"

    def like(self, other: PartPlaces) -> bool:
        """Return whether another is the same except for its path."""
        mine, theirs = ({**vars(one), "path": None} for one in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class StagePlaces:
    """A stage as a whole, and its blocks."""

    number: int
    whole: PartPlaces
    blocks: tuple[PartPlaces, ...]

    @property
    def rows(self) -> Iterator[tuple[str, str, PartPlaces]]:
        """The blocks as (label, path, part); consecutive equal ones in one row."""
        numbered = list(enumerate(self.blocks, start=1))
        first = {n: self._first_like(n) for n, _ in numbered}
        for _, run in groupby(numbered, key=lambda item: first[item[0]]):
            row = list(run)
            (number, part), (last, end) = row[0], row[-1]
            many = last > number
            label = f"block {number}..{last}" if many else f"block {number}"
            yield label, f"{part.path} … {end.path}  ×{len(row)}" if many else part.path, part

    def _first_like(self, number: int) -> int:
        """Return the number of the first block in a block's run of equal ones."""
        while number > 1 and self.blocks[number - 1].like(self.blocks[number - 2]):
            number -= 1
        return number


@dataclass(frozen=True)
class Sites:
    """Every place in a backbone, stage by stage, and the number of replaceable layers."""

    input_shape: tuple[int, ...]
    stem: PartPlaces | None
    stages: tuple[StagePlaces, ...]
    head: PartPlaces | None
    convolutions: int
    attention_modules: int

    @property
    def rows(self) -> Iterator[tuple[str, str, PartPlaces]]:
        """All of them as (label, path, part), equal blocks in one row."""
        if self.stem is not None:
            yield "stem", self.stem.path, self.stem
        for stage in self.stages:
            yield f"stage {stage.number}", stage.whole.path, stage.whole
            for label, path, part in stage.rows:
                yield f"  {label}", path, part
        if self.head is not None:
            yield "before the head", self.head.path, self.head

    def __str__(self) -> str:
        lines = [f"input {'×'.join(map(str, self.input_shape))}"]
        for label, path, part in self.rows:
            note = f"  ({part.note})" if part.note else ""
            lines.append(f"{label}  {path}  {part.kind}  {part.gives or '?'}  {part.places}{note}")
        return "\n".join([*map(visible_line, lines), self.replaceable])

    @property
    def replaceable(self) -> str:
        """The replaceable layers, in words."""
        convolutions = counted(self.convolutions, "convolution")
        attention = counted(self.attention_modules, "attention module")
        return f"a stand-in can replace {convolutions} and {attention}"


@one_thread()
def sites(
    model: nn.Module | str,
    *,
    example_inputs: Any = None,
    trust_code: bool = False,  # noqa: ARG001 - `composer.api` opens the folder with it
) -> Sites:
    """Return the stages and blocks of a model with the positions each one has.

    Args:
        model: a model, or a MODEL string.
        example_inputs: inputs of its forward; see `composer.plan`.
        trust_code: for a folder, whether code that its recipe names may be run; see
            `composer.load`.

    Raises:
        ComposerError: the model is unknown, or its forward pass fails.
    """
    if isinstance(model, str):
        model = open_backbone(ModelString.parse(model))
    model = shell_of(unwrapped(model))
    given = None if example_inputs is None else Inputs.examples(model, example_inputs)
    known = anatomy(model, given)
    placer = Placer(model, known)
    stages = tuple(
        StagePlaces(
            stage.number,
            _part_places(placer, stage.whole, ("output", "input")),
            tuple(
                _part_places(placer, block, ("residual", "output", "input"))
                for block in stage.blocks
            ),
        )
        for stage in known.stages
    )
    free = [
        sum(layer.refusal is None for layer in layers(model, known))
        for layers in (convolutions, attention_modules)
    ]
    stem, head = (
        _part_places(placer, part, ("output",)) if part is not None else None
        for part in (known.stem, known.last)
    )
    return Sites(known.probe.input_shape, stem, stages, head, *free)


def why_of(model: nn.Module, path: str) -> list[str]:
    """Return why a module of a model is a block, a stage, or neither.

    Raises:
        ComposerError: there is no such module, or the model's forward pass fails.
    """
    model = shell_of(model)
    return why(model, anatomy(model), path)


def _part_places(placer: Placer, part: Part, wanted: Sequence[str]) -> PartPlaces:
    positions: list[str] = []
    note = part.refusal
    for position in wanted:
        try:
            place = placer.place(part, Position(position))
        except NoPlace:
            continue
        if place.position == position:
            positions.append(position)
        if position == "residual":
            note = place.note
    shape = part.shape
    several = _branches(placer.model, placer.known, part) if "residual" in positions else ()
    return PartPlaces(
        part.path,
        part.kind,
        shape.channels if shape else None,
        shape.size if shape else None,
        shape.layout if shape else None,
        shape.prefix if shape else 0,
        tuple(positions),
        several,
        None if several else note,
    )


def _branches(model: nn.Module, known: Anatomy, part: Part) -> tuple[tuple[str, ...], ...]:
    """Return the children in each residual branch of a block with several."""
    try:
        graph = known.traces.of(part.call).evaluation
    except Untraceable:
        return ()
    found = branches(model.get_submodule(part.path), graph, part.call.index)
    return tuple(map(tuple, found)) if len(found) > 1 else ()
