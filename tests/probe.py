"""What several test files share: graphs from text, and weights that leave nothing hidden."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from composer.certificate.draw import random as random
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Graph, Settings
from composer.graph.passes import analyse
from composer.lower.build import lower
from composer.testing.trial import randomised

randomise = randomised  # weights that leave nothing hidden


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
