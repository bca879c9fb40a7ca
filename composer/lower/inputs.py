"""What a compiled module takes: its input, and the value that its block shares, if any."""

from __future__ import annotations

import torch
from torch import Tensor

from composer.graph.graph import Graph
from composer.primitives.base import whole

_OPEN = 16  # of an axis whose size is not told: what holds there holds for more


def input_shapes(graph: Graph, batch: int = 1) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of what a module takes, where the size of every axis is known."""
    axes = [graph.input_axes]
    share = graph.spec.insert.share if graph.spec.insert else None
    if graph.settings.part == "rest" and share is not None and share in graph.by_name:
        given = graph.by_name[share].axes
        assert given is not None
        axes.append(given)
    shapes = [
        tuple(batch if axis == "b" else whole(size) for axis, size in one.sizes) for one in axes
    ]
    return (_in_memory(graph, shapes[0]), *shapes[1:])


def _in_memory(graph: Graph, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an input as it comes: of a map as tokens, with those before it."""
    tokens, names = graph.settings.tokens, graph.input_axes.names
    if tokens is None:
        return shape
    if "n" in names:
        place = names.index("n")
        return (*shape[:place], tokens.prefix + shape[place], *shape[place + 1 :])
    place = names.index("h")
    places = tokens.prefix + shape[place] * shape[place + 1]
    return (*shape[:place], places, *shape[place + 2 :])


def random_input(graph: Graph, draw: torch.Generator, most: int | None) -> Tensor:
    """Return random numbers for a module, in float64, a batch of two.

    Args:
        graph: what the module was made from.
        draw: where the numbers come from.
        most: the most pixels of height and width, or tokens; None for those that are told.
    """
    shape = []
    for axis, size in graph.input_axes.sizes:
        told = 2 if axis == "b" else whole(size) if size.is_constant else most or _OPEN
        shape.append(min(told, most) if most and axis in ("h", "w", "n") else told)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)
