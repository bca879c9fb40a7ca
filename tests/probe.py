"""What several test files share: graphs from text, and weights that leave nothing hidden."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import fx, nn

from composer.certificate.draw import random as random
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Graph, Settings
from composer.graph.passes import analyse
from composer.lower.build import lower

torch.set_num_threads(1)  # tiny tensors, on a machine that others use too


def spec_text(nodes: str, axes: str = "b, c, h, w", params: str = "{}") -> str:
    """Return a spec whose nodes are the lines of `nodes`."""
    lines = "".join(f"  {line.strip()}\n" for line in nodes.strip().splitlines())
    return f"name: probe\nparams: {params}\ninput: [{axes}]\nnodes:\n{lines}"


def analysed(text: str, sizes: Mapping[str, int] | None = None, **settings: object) -> Graph:
    """Return the graph of a spec after the checks, whatever they found."""
    return analyse(graph_of(load_spec(text), Settings(sizes or {}, **settings)))  # type: ignore[arg-type]


def lowered(text: str, sizes: Mapping[str, int], **settings: object) -> fx.GraphModule:
    """Return the module of a spec, without any rewrite, in float64."""
    return lower(analysed(text, sizes, **settings).sound()).double()


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter and statistic anew, so that no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            else:
                tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
    return module
