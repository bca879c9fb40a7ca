"""The inputs of a compiled module: the input, and the value that its block shares, if any."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from composer.graph.graph import Graph
from composer.language.expressions import bind
from composer.primitives.base import whole

_OPEN = 16  # the largest value for an open size: larger ones behave the same


def input_shapes(graph: Graph, batch: int = 1) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of a module's inputs at the site it is planned for.

    The size of every axis is known or planned; see `Settings`.
    """
    planned = graph.settings.planned
    axes = [graph.input_axes]
    share = graph.spec.insert.share if graph.spec.insert else None
    if graph.settings.part == "rest" and share is not None and share in graph.by_name:
        given = graph.by_name[share].axes
        assert given is not None
        axes.append(given)
    shapes = [
        tuple(batch if axis == "b" else whole(bind(size, planned)) for axis, size in one.sizes)
        for one in axes
    ]
    return (_in_memory(graph, shapes[0]), *shapes[1:])


def _in_memory(graph: Graph, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the actual shape of an input: for a map as tokens, including the prefix tokens."""
    tokens, names = graph.settings.tokens, graph.input_axes.names
    if tokens is None:
        return shape
    if "n" in names:
        place = names.index("n")
        return (*shape[:place], tokens.prefix + shape[place], *shape[place + 1 :])
    place, behind = names.index(graph.settings.places[0]), len(graph.settings.places)
    places = tokens.prefix + math.prod(shape[place : place + behind])
    return (*shape[:place], places, *shape[place + behind :])


def random_input(graph: Graph, draw: torch.Generator) -> Tensor:
    """Return random inputs for a module, in float64, with a batch of two."""
    planned = graph.settings.planned
    shape = []
    for axis, size in graph.input_axes.sizes:
        some = 2 if axis == "b" else min(planned.get(axis, _OPEN), _OPEN)
        shape.append(whole(size) if size.is_constant else some)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)
