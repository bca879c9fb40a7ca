"""A case at some sizes: its graph, its module with random weights in float64, and its output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from composer.certificate.draw import random
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Graph, Settings
from composer.graph.passes import analyse
from composer.lower.build import lower
from composer.measure.seeds import seed_torch
from composer.primitives import Spec
from composer.primitives.base import Primitive
from composer.testing.case import Case

M = TypeVar("M", bound=nn.Module)


class Trial:
    """What the laws inspect.

    Attributes:
        case: the use of the op.
        sizes: of every axis of the input.
        text: the spec.
    """

    def __init__(self, case: Case, sizes: Mapping[str, int]) -> None:
        self.case, self.sizes = case, dict(sizes)
        self.text = case.text()
        self.names = tuple(case.axes.split())
        self.known = {axis: sizes[axis] for axis in self.names[1:]}

    def __str__(self) -> str:
        at = " ".join(f"{axis}={self.sizes[axis]}" for axis in self.names)
        return f"{{{self.case}}} at {at}"

    @cached_property
    def spec(self) -> Spec:
        """The spec, checked."""
        return load_spec(self.text)

    @cached_property
    def graph(self) -> Graph:
        """The graph after the checks, with all sizes known except the batch."""
        return self.analysed(self.known).sound()

    @cached_property
    def module(self) -> fx.GraphModule:
        """The float64 module with random weights; in training mode, unless that is random."""
        module = randomised(lower(self.graph).double())
        return module if _repeats(module, self.x) else module.eval()

    @property
    def x(self) -> Tensor:
        """The input, in float64; a new tensor each time, in case the op modifies it."""
        return self.input()

    @cached_property
    def y(self) -> Tensor:
        """The module's output for it."""
        with torch.no_grad():
            value: Tensor = self.module(self.x).clone()
        return value

    @property
    def op(self) -> Primitive:
        """The bound op."""
        op = self.graph.by_name[self.graph.output].op
        assert op is not None
        return op

    def input(self, sizes: Mapping[str, int] | None = None, seed: int = 1) -> Tensor:
        """Return a normally distributed float64 input, with other sizes for some axes."""
        known = {**self.sizes, **(sizes or {})}
        return random(*(known[axis] for axis in self.names), seed=seed)

    def analysed(
        self, sizes: Mapping[str, int], layout: Sequence[str] | None = None, text: str | None = None
    ) -> Graph:
        """Return the graph after the checks, with any problems."""
        order = None if layout is None else tuple(layout)
        spec = self.spec if text is None else load_spec(text)
        return analyse(graph_of(spec, Settings(dict(sizes), layout=order)))

    def like(self, graph: Graph) -> fx.GraphModule:
        """Return the module of another graph of the case, with the same weights and mode."""
        module = lower(graph.sound()).double()
        module.load_state_dict(self.module.state_dict())
        return module.train(self.module.training)


def randomised(module: M, seed: int = 0) -> M:
    """Randomise every parameter and statistic, so that no zero or one hides a mistake."""
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


def _repeats(module: nn.Module, x: Tensor) -> bool:
    """Return whether a module is deterministic."""
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        seed_torch(1)
        first = module(x).nan_to_num(math.e)
        seed_torch(2)
        again = module(x).nan_to_num(math.e)
        same = torch.equal(first, again)
        module.load_state_dict(state)
    return same
