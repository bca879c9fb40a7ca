"""What each node of a spec costs: parameters and FLOPs at given sizes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from composer.graph.frontend import graph_of
from composer.graph.graph import INPUT, Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower, sizes_for
from composer.measure.cost import FlopCounter
from composer.primitives import Spec
from composer.spec.expressions import Value


@dataclass(frozen=True)
class NodeCost:
    """One node: its axes, their sizes, its parameters, its multiply-adds for one image."""

    node: str
    label: str
    axes: tuple[str, ...]
    sizes: tuple[str, ...]
    parameters: int
    flops: int

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "node": self.node,
            "label": self.label,
            "axes": list(self.axes),
            "sizes": [int(s) if s.isdigit() else s for s in self.sizes],
            "parameters": self.parameters,
            "flops": self.flops,
        }


def node_costs(
    spec: Spec, channels: int, size: tuple[int, int], params: Mapping[str, Value]
) -> tuple[fx.GraphModule, list[NodeCost]]:
    """Return the module of a spec, and what each of its nodes costs.

    Raises:
        ComposerError: the spec does not suit these sizes and params.
    """
    sizes = sizes_for(spec, channels, size)
    graph = compile_graph(graph_of(spec, Settings(sizes, params)), as_written=True)
    with torch.device("meta"):
        module = lower(graph).eval()
        places = {**sizes, "n": math.prod(size)}
        shape = tuple(places.get(axis, 1) for axis in spec.input)
        x = torch.empty(shape)
    counted = _Counted(module)
    with torch.no_grad():
        counted.run(x)
    rows = [
        NodeCost(
            INPUT,
            "",
            graph.input_axes.names,
            tuple(str(size) for _, size in graph.input_axes.sizes),
            0,
            0,
        )
    ]
    own = _parameters_by_node(module, (node.name for node in graph.nodes))
    for node in graph.in_order():
        assert node.op is not None and node.axes is not None
        rows.append(
            NodeCost(
                node.name,
                node.op.label(),
                node.axes.names,
                tuple(str(size) for _, size in node.axes.sizes),
                own[node.name],
                counted.flops.get(node.name, 0),
            )
        )
    return module, rows


def _parameters_by_node(module: fx.GraphModule, nodes: Iterable[str]) -> Counter[str]:
    """Return the parameters of each node: those under its name, and under no longer one."""
    names = set(nodes)
    found: Counter[str] = Counter()
    for path, parameter in module.named_parameters():
        owner = path
        while owner and owner not in names:
            owner = owner.rpartition(".")[0]
        found[owner] += parameter.numel()
    return found


class _Counted(fx.Interpreter):
    """Adds up the multiply-adds of each node of the spec."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.flops: dict[str, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        counter = FlopCounter()
        with counter:
            result = super().run_node(n)
        name = n.meta.get("composer", {}).get("node")
        if name:
            self.flops[name] = self.flops.get(name, 0) + counter.total
        return result
