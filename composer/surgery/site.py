"""The contents of a plan: the sites, what several of them share, and the skipped places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from composer.analysis.parts import Part
from composer.analysis.probe import Call
from composer.errors import counted
from composer.graph.graph import Graph, Init
from composer.language.expressions import Value
from composer.measure.inputs import Inputs
from composer.primitives import Spec
from composer.surgery.composition import At, Inserted, PrefixTokens
from composer.surgery.near_miss import NearMiss
from composer.surgery.place import Place
from composer.surgery.placement import Placement
from composer.surgery.replace import Replacement
from composer.visible import visible_line


@dataclass(frozen=True)
class Addition:
    """How something is added to a block or a stage."""

    place: Place


@dataclass(frozen=True, kw_only=True)
class Site(Inserted):
    """One place where a module goes.

    `flops` are its multiply-adds; `replaced` counts the parameters of replaced layers.
    """

    stage: int | None
    block: int | None
    spec: str
    layout: tuple[str, ...]
    parameters: int
    flops: int
    note: str | None = None
    replaced: int = 0
    how: Addition | Replacement = field(repr=False, compare=False)
    graph: Graph = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class SharedSite(Inserted):
    """A module that several stand-ins of a block share; `users` are their paths."""

    position: str = "shared"
    name: str
    parameters: int
    flops: int
    users: tuple[str, ...]
    block: Part = field(repr=False, compare=False)
    inside: Mapping[str, Sequence[Call]] = field(repr=False, compare=False)
    graph: Graph = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sites of an insertion in the order they run, and the skipped places.

    `flops_before` are the model's multiply-adds before it, for one image of `input_shape`.
    """

    spec: Spec
    placement: Placement
    init: Init
    params: Mapping[str, Value]
    prefix_tokens: PrefixTokens
    sites: tuple[Site, ...]
    shared: tuple[SharedSite, ...]
    near_misses: tuple[NearMiss, ...]
    inputs: Inputs
    flops_before: int
    parameters_before: int
    has_numbers: bool = False  # whether the model had to run on real tensors
    entry: str = ""  # the module that takes the inputs, if not the model

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The channels, height and width of the image that the model was run on."""
        return self.inputs.shape

    @property
    def at(self) -> At:
        """The kind of place."""
        return self.placement.at

    @property
    def position(self) -> str:
        """The position in each place, or ``replace``."""
        return self.placement.position or "replace"

    @property
    def parameters_after(self) -> int:
        """The parameters of the model after this insertion."""
        added = sum(site.parameters - site.replaced for site in self.sites)
        return self.parameters_before + added + sum(site.parameters for site in self.shared)

    @property
    def flops_after(self) -> int | None:
        """The multiply-adds after this insertion; None if layers of unknown cost are replaced."""
        if self.shared or not all(isinstance(site.how, Addition) for site in self.sites):
            return None
        return self.flops_before + sum(site.flops for site in self.sites)

    def __str__(self) -> str:
        lines = [f"{self.spec.name} at {counted(len(self.sites), 'site')}"]
        for site in self.sites:
            size = "×".join(map(str, (site.channels, *site.size)))
            note = f"  ({site.note})" if site.note else ""
            instead = f" for {site.replaced:,}" if site.position == "replace" else ""
            lines.append(
                f"  {site.module}  {site.position}  {size}  "
                f"{'' if instead else '+'}{counted(site.parameters, 'parameter')}{instead}{note}"
            )
        lines += [
            f"  {site.module}  shared by {counted(len(site.users), 'site')}  "
            f"+{counted(site.parameters, 'parameter')}"
            for site in self.shared
        ]
        lines += [f"  not {miss.path}: {miss.reason}" for miss in self.near_misses]
        return "\n".join(map(visible_line, lines))
