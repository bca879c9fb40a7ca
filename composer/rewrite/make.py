"""The spec's module at each site: its graph, compiled once for each size, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from composer.backbones.anatomy import MapShape
from composer.graph.frontend import graph_of
from composer.graph.graph import Begin, Graph, Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower
from composer.lower.inputs import input_shapes
from composer.lower.like import sizes_like
from composer.measure.cost import flops, parameters
from composer.primitives import Spec
from composer.spec.expressions import Value


@dataclass(frozen=True)
class Made:
    """A graph for the sizes of a site, its parameters, its multiply-adds for one image."""

    graph: Graph
    parameters: int
    flops: int


@dataclass
class Maker:
    """Compiles one spec under one choice of params."""

    spec: Spec
    params: Mapping[str, Value]
    init: Begin
    _made: dict[object, Made] = field(default_factory=dict)

    def at(self, shape: MapShape) -> Made:
        """Return what is inserted where a block or a stage gives a map of this shape.

        Raises:
            ComposerError: the spec does not suit.
        """
        return self._make(Settings(_sizes(shape), self.params, shape.layout, self.init))

    def like(self, layer: nn.Module, size: tuple[int, ...]) -> Made:
        """Return what takes a layer's place, where its input has this size behind the channels.

        Raises:
            ComposerError: the spec does not suit.
        """
        told = sizes_like(self.spec, layer)
        params = {n: v for n, v in told.items() if n in self.spec.params}
        sizes = {n: v for n, v in told.items() if n not in params}
        axes = ("n",) if self.spec.stands_for == "attention" else ("h", "w")
        sizes |= dict(zip(axes, size, strict=True))
        layout = ("b", *axes, "c") if len(axes) == 1 else ("b", "c", *axes)
        shares = self.spec.insert is not None and self.spec.insert.share is not None
        settings = Settings(sizes, {**params, **self.params}, layout)
        return self._make(replace(settings, part="rest") if shares else settings)

    def shared(self, shape: MapShape) -> Made:
        """Return what several stand-ins share, where their block's input has this shape.

        Raises:
            ComposerError: the spec does not suit.
        """
        return self._make(Settings(_sizes(shape), self.params, shape.layout, part="shared"))

    def _make(self, settings: Settings) -> Made:
        key = tuple(settings.sizes.items()), settings.layout, settings.part
        if key not in self._made:
            graph = compile_graph(graph_of(self.spec, settings))
            with torch.device("meta"):
                module = lower(graph).eval()
            cost = flops(module, *input_shapes(graph))
            self._made[key] = Made(graph, parameters(module), cost)
        return self._made[key]


def _sizes(shape: MapShape) -> dict[str, int]:
    return {"c": shape.channels, "h": shape.size[0], "w": shape.size[1]}
