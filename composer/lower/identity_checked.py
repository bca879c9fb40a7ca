"""A stand-in that starts as the layer it replaces, run against it before it is accepted."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from composer.graph.graph import Graph
from composer.lower.identity import Original, begin, cast, check_same
from composer.lower.inputs import random_input


def identical_to(
    module: fx.GraphModule,
    graph: Graph,
    original: Original,
    shared: tuple[fx.GraphModule, Graph] | None,
    dtype: torch.dtype,
    path: str,
) -> fx.GraphModule:
    """Return a stand-in that computes the same as the layer it replaces.

    Args:
        module: as published, on the CPU.
        graph: its graph.
        original: the layer that it replaces.
        shared: the module for the value that its block shares, in float64, and its graph.
        dtype: of the returned module; it is built and compared in float64.
        path: the site, for messages.

    Raises:
        ComposerError: it can't be initialised so, or the two differ.
    """
    module = module.double()
    begin(module, graph, original, path)
    check_same(module, original, _inputs(graph, shared), graph.spec, path)
    cast(module, dtype)
    return module


def _inputs(graph: Graph, shared: tuple[fx.GraphModule, Graph] | None) -> tuple[Tensor, ...]:
    """Return random inputs for a stand-in."""
    draw = torch.Generator().manual_seed(0)
    if shared is None:
        return (random_input(graph, draw),)
    module, its_graph = shared
    with torch.no_grad():
        x = random_input(graph, draw)
        return x, module.eval()(random_input(its_graph, draw))
