"""The cost of each node counted by torch: the reference for the primitives' own counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from composer.graph.graph import Graph
from composer.language.expressions import evaluate
from composer.lower.build import lower
from composer.measure.cost import FlopCounter
from composer.primitives.cost import Cost


def counted(graph: Graph, sizes: Mapping[str, int]) -> dict[str, Cost]:
    """Return the parameters and multiply-adds that a graph's module has for each node.

    One image on the meta device goes through it; `sizes` are the open sizes of the input.
    """
    known = {**sizes, graph.spec.input[0]: 1}
    shape = [evaluate(size, known) for _, size in graph.input_axes.sizes]
    with torch.device("meta"):
        module = lower(graph).eval()
        x = torch.empty(as_it_comes(graph, shape))
    counting = _Counted(module)
    with torch.no_grad():
        counting.run(x)
    names = [node.name for node in graph.nodes]
    own = _parameters_by_node(module, names)
    assert sum(own.values()) == sum(p.numel() for p in module.parameters())
    return {name: Cost(own[name], counting.flops[name]) for name in names}


def as_it_comes(graph: Graph, shape: list[Any]) -> list[Any]:
    """Return the shape of the tensor for an input of this shape, which may come as tokens."""
    if graph.settings.tokens is None:
        return shape
    sizes = dict(zip(graph.input_axes, shape, strict=True))
    tokens = graph.settings.tokens.prefix + sizes["h"] * sizes["w"]
    order = [axis for axis in sizes if axis != "w"]
    return [tokens if axis == "h" else sizes[axis] for axis in order]


def _parameters_by_node(module: fx.GraphModule, nodes: Iterable[str]) -> Counter[str]:
    """Return the parameters of each node: those under its name, by the longest match."""
    names = set(nodes)
    found: Counter[str] = Counter()
    for path, parameter in module.named_parameters():
        owner = path
        while owner and owner not in names:
            owner = owner.rpartition(".")[0]
        assert owner, path
        found[owner] += parameter.numel()
    return found


class _Counted(fx.Interpreter):
    """Sums the multiply-adds of each node of the spec."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.flops: Counter[str] = Counter()

    def run_node(self, n: fx.Node) -> Tensor:
        counter = FlopCounter()
        with counter:
            result: Tensor = super().run_node(n)
        if "composer" in n.meta:
            self.flops[n.meta["composer"]["node"]] += counter.total
        else:
            assert counter.total == 0, n
        return result
