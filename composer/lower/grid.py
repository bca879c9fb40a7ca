"""Tokens as a map: the positions of a map as one axis, after prefix tokens without a position."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

from torch import fx
from torch.overrides import handle_torch_function, has_torch_function_unary

from composer.graph.graph import Graph, Tokens
from composer.graph.neighbours import looking_at_neighbours, reads_shape
from composer.language.expressions import bind
from composer.lower.provenance import mark
from composer.primitives.base import whole


def grid(places: int, *size: int) -> tuple[int, ...]:
    """Return the height and width of a map with so many positions and a given aspect ratio.

    An image of another aspect ratio with the same number of positions can't be told apart.

    Raises:
        ValueError: there is no such map.
    """
    if has_torch_function_unary(places):  # a symbolic trace, which records one node for it
        traced: tuple[int, ...] = handle_torch_function(grid, (places,), places, *size)
        return traced
    if places == math.prod(size):
        return size
    ratio = places / math.prod(size)
    first = int(size[0] * ratio ** (1 / len(size)) + 0.5)
    found = (first, *(first * length // size[0] for length in size[1:]))
    pairs = zip(found, size, strict=True)
    exact = all(length * size[0] == first * other for length, other in pairs)
    if first and exact and math.prod(found) == places:
        return found
    shown = "×".join(map(str, size))
    raise ValueError(
        f"{places} tokens do not form a grid of the aspect ratio {shown}, for which this was built"
    )


def needed_size(graph: Graph) -> tuple[int, ...] | None:
    """Return the height and width that a module's input must have, or the number of its tokens.

    None if any size works. A graph has fixed numbers for these sizes only if it needs them;
    see `composer.lower.build.compiled`.
    """
    axes, tokens = graph.input_axes, graph.settings.tokens
    of_map = (*graph.settings.places, "n")
    sizes = [axes[axis] for axis in of_map if axis in axes and axes[axis].is_constant]
    if tokens is not None and tokens.join and "n" not in axes:  # the map is one column of tokens
        sizes = sizes[:1]
    return tuple(map(whole, sizes)) or None


@dataclass(frozen=True)
class TokenAxis:
    """Emits the conversion at input and output of a module whose input comes as tokens."""

    graph: Graph
    nodes: fx.Graph
    tokens: Tokens

    @property
    def axis(self) -> int:
        """The dimensions of the spatial axes in memory."""
        names = self.graph.input_axes.names
        return names.index("n" if "n" in names else self.places[0])

    @property
    def places(self) -> tuple[str, ...]:
        """The axes of the map that the tokens represent."""
        return self.graph.settings.places

    def taken(self, x: fx.Node) -> fx.Node:
        """Emit the map that the tokens represent."""
        if self.tokens.prefix:
            x = self._part(x, slice(self.tokens.prefix, None))
        axes = self.graph.input_axes
        if "n" in axes.names or len(self.places) == 1:
            return x
        if self.tokens.join or not self._has_a_shape():
            column = (-1, *(1 for _ in self.places[1:]))
            return self._new("call_method", "unflatten", (x, self.axis, column))
        places = self._new("call_method", "size", (x, self.axis))
        planned = [whole(bind(axes[a], self.graph.settings.planned)) for a in self.places]
        shape = self._new("call_function", grid, (places, *planned))
        return self._new("call_method", "unflatten", (x, self.axis, shape))

    def given(self, x: fx.Node, y: fx.Node) -> fx.Node:
        """Emit the tokens that represent a map, after the prefix tokens of the input."""
        import torch

        if "n" not in self.graph.input_axes.names and len(self.places) > 1:
            last = self.axis + len(self.places) - 1
            y = self._new("call_method", "flatten", (y, self.axis, last))
        if not self.tokens.prefix:
            return y
        prefix = self._part(x, slice(None, self.tokens.prefix))
        return self._new("call_function", torch.cat, ((prefix, y), self.axis))

    def _has_a_shape(self) -> bool:
        """Return whether the result depends on the height and width of the map in the tokens."""
        graph = self.graph
        one_size = needed_size(graph) is not None
        return one_size or looking_at_neighbours(graph) is not None or reads_shape(graph)

    def _part(self, x: fx.Node, part: slice) -> fx.Node:
        index = (*(slice(None) for _ in range(self.axis)), part)
        return self._new("call_function", operator.getitem, (x, index))

    def _new(self, op: str, target: Any, args: tuple[Any, ...]) -> fx.Node:
        word = target if isinstance(target, str) else target.__name__
        node = self.nodes.create_node(op, target, args, {}, name=f"tokens_{word}")
        mark(node, self.graph)
        return node
