"""The spec's module at each site: its graph, and its cost there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from composer.analysis.maps import MapShape
from composer.errors import ComposerError, Diagnostic, error
from composer.graph.costs import node_costs
from composer.graph.from_spec import graph_of
from composer.graph.graph import Graph, Init, Settings, Tokens
from composer.graph.neighbours import looking_at_neighbours
from composer.graph.passes import analyse
from composer.graph.passes.check_output import unlike_input
from composer.graph.places import names_for, places_of
from composer.language.expressions import Value
from composer.lower.build import compiled
from composer.lower.grid import needed_size
from composer.lower.like import sizes_like
from composer.primitives import Spec
from composer.primitives.cost import Cost
from composer.primitives.places import HW, PLACES
from composer.surgery.composition import PrefixTokens


@dataclass(frozen=True)
class Made:
    """A graph for a site, its parameters, its multiply-adds for one image.

    `needs_size` is the height and width that its input must have, or the number of tokens, where
    the mechanism is built for one size only.
    """

    graph: Graph
    parameters: int
    flops: int
    needs_size: tuple[int, ...] | None = None


def with_size(note: str | None, made: Made) -> str | None:
    """Return the remark on a site, with the one size that its module is built for, if any."""
    if made.needs_size is None:
        return note
    shown = "×".join(map(str, made.needs_size))
    tokens = len(made.needs_size) == 1 and len(made.graph.settings.places) > 1
    what = f"{shown} tokens" if tokens else f"maps of {shown}"
    return "; ".join(filter(None, (note, f"only for {what}")))


def _refuse_neighbours(graph: Graph, why: str, way_out: str) -> None:
    """Refuse a graph that uses neighbours in a map.

    Raises:
        ComposerError: with the node that does so.
    """
    if (node := looking_at_neighbours(graph)) is not None:
        message = f"{node.name!r} uses neighbours in a map, and {why}"
        raise ComposerError(Diagnostic("no-place", message, way_out, graph.where(node)))


@dataclass
class Maker:
    """Compiles one spec under one choice of params."""

    spec: Spec
    params: Mapping[str, Value]
    init: Init
    prefix_tokens: PrefixTokens = "pass"
    _made: dict[object, Made] = field(default_factory=dict)

    def at(self, shape: MapShape) -> Made:
        """Return what is inserted where a block or a stage outputs a map of this shape.

        Raises:
            ComposerError: the spec does not suit.
        """
        known = bool(self._made)
        made = self._make(self._settings(shape))
        if not known and self.spec.insert is None:  # else the spec itself is checked for it
            graph = analyse(graph_of(self.spec, Settings(params=self.params)))
            if problems := unlike_input(graph):
                raise ComposerError(problems)
        self._check_places(shape, made)
        return made

    def _check_places(self, shape: MapShape, made: Made) -> None:
        """Refuse a spec that looks at neighbours where tokens have none.

        Raises:
            ComposerError: with the node that does so.
        """
        if shape.is_tokens and "n" not in self.spec.input:
            if self._joins(shape):
                way_out = "let them pass: prefix_tokens='pass'"
                _refuse_neighbours(made.graph, "prefix tokens have none", way_out)
            if not shape.in_rows:
                why = "these tokens are not in row order"
                _refuse_neighbours(made.graph, why, "use a spec that pools them all")

    def like(self, layer: nn.Module, size: tuple[int, ...]) -> Made:
        """Return what replaces a layer whose input has this size after the channels.

        Raises:
            ComposerError: the spec does not suit.
        """
        told = sizes_like(self.spec, layer)
        params = {n: v for n, v in told.items() if n in self.spec.params}
        sizes = {n: v for n, v in told.items() if n not in params}
        tokens = self.spec.stands_for == "attention"
        places = HW if tokens else names_for(self.spec, len(size))
        axes = ("n",) if tokens else places
        sizes |= dict(zip(axes, size, strict=True))
        layout = ("b", "n", "c") if tokens else ("b", "c", *axes)
        shares = self.spec.insert is not None and self.spec.insert.share is not None
        settings = Settings(sizes, {**params, **self.params}, layout, places=places)
        return self._make(replace(settings, part="rest") if shares else settings)

    def attending(self, layer: nn.Module, shape: MapShape) -> Made:
        """Return what replaces attention as a mechanism on the map that its tokens form.

        Tokens without a place in that map, such as a class token, bypass it.

        Raises:
            ComposerError: the spec does not suit.
        """
        told = sizes_like(self.spec, layer)
        params = {n: v for n, v in told.items() if n in self.spec.params}
        settings = replace(self._settings(shape), init="paper", params={**params, **self.params})
        made = self._make(settings)
        self._check_places(shape, made)
        return made

    def shared(self, shape: MapShape) -> Made:
        """Return what several stand-ins share, where their block's input has this shape.

        Raises:
            ComposerError: the spec does not suit.
        """
        return self._make(replace(self._settings(shape), init="paper", part="shared"))

    def _settings(self, shape: MapShape) -> Settings:
        """Return the settings for a value of this shape.

        Raises:
            ComposerError: the spec is written for maps of other dimensions.
        """
        places = self._places(shape)
        sizes, layout, tokens, lengths = {"c": shape.channels}, shape.layout, None, shape.size
        if shape.is_tokens:
            join = self._joins(shape)
            tokens = Tokens(0 if join else shape.prefix, join)
            if join:
                lengths = (shape.prefix + math.prod(lengths), *(1 for _ in lengths[1:]))
            if "n" not in self.spec.input:
                place = layout.index("n")
                layout = (*layout[:place], *places, *layout[place + 1 :])
        else:
            called = dict(zip(PLACES[len(places)], places, strict=True))
            layout = tuple(called.get(axis, axis) for axis in layout)
        if "n" in layout:
            sizes |= {"n": math.prod(lengths)}
        else:
            sizes |= dict(zip(places, lengths, strict=True))
        return Settings(sizes, self.params, layout, tokens, self.init, places=places)

    def _joins(self, shape: MapShape) -> bool:
        """Return whether prefix tokens take part, as in a replaced norm or MLP."""
        replaces = self.spec.stands_for in ("norm", "mlp", "pool")
        return self.prefix_tokens == "join" or (replaces and shape.prefix > 0)

    def _places(self, shape: MapShape) -> tuple[str, ...]:
        """Return the spec's names for the spatial axes of a map of this shape."""
        dimensions, own = len(shape.size), places_of(self.spec.input)
        if own and own != HW and own != PLACES[dimensions]:
            there = ", ".join(("b", "c", *PLACES[dimensions]))
            raise error(
                "not-a-map",
                f"{self.spec.name!r} takes [{', '.join(self.spec.input)}], and a feature map is "
                f"[{there}]",
                "write 'input: [b, c, h, w]'",
            )
        return names_for(self.spec, dimensions)

    def _make(self, settings: Settings) -> Made:
        key = tuple(settings.sizes.items()), settings.layout, settings.tokens, settings.part
        if key not in self._made:
            graph = compiled(self.spec, settings)
            cost = sum(node_costs(graph, graph.settings.planned).values(), Cost())
            self._made[key] = Made(graph, cost.parameters, cost.flops, needed_size(graph))
        return self._made[key]
