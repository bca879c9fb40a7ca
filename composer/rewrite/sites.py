"""`sites`: a backbone's anatomy, and every place something can go."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from composer.backbones.anatomy import Part, anatomy
from composer.backbones.model_string import ModelString
from composer.backbones.open import open_backbone
from composer.errors import counted
from composer.rewrite.composition import Position
from composer.rewrite.layers import attention_modules, convolutions
from composer.rewrite.place import Placer


@dataclass(frozen=True)
class Spot:
    """A block or a stage: what it gives, and where inside something can go."""

    path: str
    kind: str
    channels: int | None
    size: tuple[int, int] | None
    layout: tuple[str, ...] | None
    positions: tuple[Position, ...]
    note: str | None


@dataclass(frozen=True)
class StageSpots:
    """A stage as a whole, and its blocks."""

    number: int
    whole: Spot
    blocks: tuple[Spot, ...]


@dataclass(frozen=True)
class Sites:
    """Every place in a backbone, stage by stage, and how many layers something can stand in for."""

    input_shape: tuple[int, int, int]
    stages: tuple[StageSpots, ...]
    convolutions: int
    attention_modules: int

    def __str__(self) -> str:
        lines = [f"input {'×'.join(map(str, self.input_shape))}"]
        for stage in self.stages:
            lines.append(f"stage {stage.number}  {_line(stage.whole)}")
            lines += [
                f"  block {number}  {_line(block)}"
                for number, block in enumerate(stage.blocks, start=1)
            ]
        return "\n".join([*lines, self.replaceable])

    @property
    def replaceable(self) -> str:
        """What something can stand in for, in words."""
        convolutions = counted(self.convolutions, "convolution")
        attention = counted(self.attention_modules, "attention module")
        return f"a stand-in can take the place of {convolutions} and {attention}"


def sites(model: nn.Module | str) -> Sites:
    """Return the stages and blocks of a model with the positions each one has.

    Raises:
        ComposerError: the model is unknown, or its forward pass fails.
    """
    if isinstance(model, str):
        model = open_backbone(ModelString.parse(model))
    known = anatomy(model)
    placer = Placer(model, known)
    stages = tuple(
        StageSpots(
            stage.number,
            _spot(stage.whole, ("output",), None),
            tuple(_block(placer, block) for block in stage.blocks),
        )
        for stage in known.stages
    )
    free = [
        sum(layer.refusal is None for layer in layers(model, known))
        for layers in (convolutions, attention_modules)
    ]
    return Sites(known.probe.input_shape, stages, *free)


def _block(placer: Placer, part: Part) -> Spot:
    if part.shape is None:
        return _spot(part, (), part.refusal)
    place = placer.place(part, "residual")
    positions: tuple[Position, ...] = (
        ("residual", "output") if place.position == "residual" else ("output",)
    )
    return _spot(part, positions, place.note)


def _spot(part: Part, positions: tuple[Position, ...], note: str | None) -> Spot:
    shape = part.shape
    return Spot(
        part.path,
        part.kind,
        shape.channels if shape else None,
        shape.size if shape else None,
        shape.layout if shape else None,
        positions if shape else (),
        note or part.refusal,
    )


def _line(spot: Spot) -> str:
    size = "×".join(map(str, (spot.channels, *(spot.size or ())))) if spot.channels else "?"
    positions = ", ".join(spot.positions) or "none"
    note = f"  ({spot.note})" if spot.note else ""
    return f"{spot.path}  {spot.kind}  {size}  {positions}{note}"
