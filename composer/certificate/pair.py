"""Our module and its oracle with the same weights, and their differences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from composer.certificate.draw import random, randomise
from composer.errors import error, listing

_EXACT = 1e-10  # for everything but gradients, independent of the tolerance
_SHOWN = 4  # keys that a message lists


@dataclass(frozen=True)
class Gap:
    """The difference of a tensor from the oracle's, and whether it is too large."""

    what: str
    size: float
    wide: bool


@dataclass(frozen=True)
class Pair:
    """Our module and the oracle, in float64, with the same random weights and statistics.

    `written` is our module with the nodes of the spec, before optimisation.
    """

    ours: fx.GraphModule
    theirs: nn.Module
    written: fx.GraphModule
    keys: Mapping[str, str]
    tolerance: float

    def drawn(self) -> Pair:
        """Randomise our weights and statistics, and copy them to the oracle.

        Raises:
            ComposerError: a tensor is missing, surplus, or has another number of elements.
        """
        randomise(self.ours)
        state, shapes = self.ours.state_dict(), _shapes(self.theirs)
        if wrong := _wrong_tensors(_shapes(self.ours), shapes, self.keys):
            raise error("other-tensors", "; ".join(wrong))
        self.theirs.load_state_dict(
            {theirs: state[ours].reshape(shapes[theirs]) for ours, theirs in self.keys.items()}
        )
        self.written.load_state_dict(state)
        return self

    def train(self, training: bool = True) -> Pair:
        """Set the mode of both."""
        self.ours.train(training)
        self.theirs.train(training)
        self.written.train(training)
        return self

    def gaps(self, x: Tensor) -> list[Gap]:
        """Run both forward and backward on x, and return the difference of each tensor."""
        return list(self._gaps(x))

    def _gaps(self, x: Tensor) -> Iterator[Gap]:
        inputs = [x.clone().requires_grad_() for _ in range(2)]
        ours, theirs = self.ours(inputs[0]), self.theirs(inputs[1])
        if ours.shape != theirs.shape:
            sizes = f"{shown(ours.shape)} instead of {shown(theirs.shape)}"
            yield Gap(f"the output, of {sizes},", math.inf, wide=True)
            return
        yield _gap("the output", ours, theirs, _EXACT)
        cotangent = random(*ours.shape, seed=2)
        for module, output in ((self.ours, ours), (self.theirs, theirs)):
            module.zero_grad()
            (output * cotangent).sum().backward()
        slack = self.tolerance
        yield _gap("the gradient of the input", inputs[0].grad, inputs[1].grad, slack)
        parameters = dict(self.theirs.named_parameters())
        for key, parameter in self.ours.named_parameters():
            other = parameters[self.keys[key]].grad
            yield _gap(f"the gradient of '{key}'", parameter.grad, other, slack)
        buffers = dict(self.theirs.named_buffers())
        for key, buffer in self.ours.named_buffers():
            if key not in self.keys:  # a table, which is in no checkpoint
                continue
            yield _gap(f"the statistic '{key}'", buffer, buffers[self.keys[key]], _EXACT)


def _gap(what: str, ours: Tensor | None, theirs: Tensor | None, slack: float) -> Gap:
    """Return the difference of two tensors with equally many elements; None counts as zeros."""
    if ours is None or theirs is None:
        known = ours if theirs is None else theirs
        size = 0.0 if known is None else float(known.detach().abs().max())
        return Gap(what, size, wide=size > slack)
    ours, theirs = ours.detach(), theirs.detach().reshape(ours.shape).to(ours.dtype)
    close = torch.isclose(ours, theirs, rtol=slack, atol=slack)
    return Gap(what, float((ours - theirs).abs().max()), wide=not bool(close.all()))


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in module.state_dict().items()}


def _wrong_tensors(
    ours: Mapping[str, torch.Size], theirs: Mapping[str, torch.Size], keys: Mapping[str, str]
) -> list[str]:
    """Return the problems of our tensors, by key."""
    missing, more = [k for k in keys if k not in ours], [k for k in ours if k not in keys]
    wrong = []
    if missing:
        wrong.append(f"without the paper's {_some(missing)}")
    if more:
        wrong.append(f"with {_some(more)}, which the paper does not have")
    wrong += [
        f"'{a}' is {shown(ours[a])}, but {shown(theirs[b])} in the paper"
        for a, b in keys.items()
        if a in ours and ours[a].numel() != theirs[b].numel()
    ]
    return wrong


def _some(keys: list[str]) -> str:
    left = len(keys) - _SHOWN
    first = [repr(key) for key in keys[:_SHOWN]]
    return listing(first) if left <= 0 else f"{', '.join(first)} and {left} more"


def shown(shape: tuple[int, ...]) -> str:
    """Return a shape as text: ``64×3×3``."""
    return "×".join(map(str, shape)) or "one number"
