"""Compares the built spec with the module, with the same weights: outputs and gradients.

Everything is random, including weights and statistics, so that no branch is silent; in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from composer.errors import ComposerError
from composer.graph.frontend import load_spec
from composer.graph.graph import INPUT
from composer.lifting.captures import At
from composer.lower.build import build, compiled, settings_for
from composer.primitives import Spec

#: Tolerated difference between two ways to compute a sum in float64, relative to the largest
#: number; gradients involve more sums.
TOLERANCE = 1e-10
OF_GRADIENTS = 1e-9


@dataclass(frozen=True)
class Beside:
    """One comparison: the sizes, and the largest relative differences of outputs and gradients."""

    at: At
    training: bool
    output: float
    gradient: float

    @property
    def agrees(self) -> bool:
        """Whether both agree up to rounding."""
        return self.output <= TOLERANCE and self.gradient <= OF_GRADIENTS


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by key, including those that are not saved."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def compare(
    text: str,
    weights: Mapping[str, str],
    module: nn.Module,
    at: At,
    layout: tuple[str, ...],
    order: tuple[str, ...],
    training: bool,
) -> Beside:
    """Run both and compare.

    Args:
        text: the spec.
        weights: the module's key for each of the spec's keys.
        module: the module; it is copied.
        at: the sizes.
        layout: the axes of the input.
        order: the axes of the module's output whose size is not 1.
        training: whether both are in training mode.

    Raises:
        ComposerError: the spec can't be built.
    """
    original = copy.deepcopy(module).to("cpu", torch.float64)
    randomise(original)
    spec = load_spec(text)
    made, have = built(spec, at, layout)
    if not copy_weights(original, made, weights):
        return Beside(at, training, float("inf"), 0.0)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(at.shape(layout), generator=draw, dtype=torch.float64)
    grid_shape = (at.batch, *at.size, at.channels) if "n" in layout and "h" in have else None
    results = []
    for one in (original, made):
        one.train(training)
        own = x.clone().requires_grad_()
        taken = own.reshape(grid_shape) if one is made and grid_shape else own
        results.append((one(taken), own))
    (y, x1), (z, x2) = results
    grid = ("h", "w") if grid_shape else ("n",)
    wanted = [axis for one in order for axis in (grid if one == "n" else (one,))]
    z = z.permute([have.index(axis) for axis in wanted]).reshape(y.shape)
    cotangent = torch.randn(y.shape, generator=draw, dtype=torch.float64)
    pairs = [(x1, x2)]
    params = dict(original.named_parameters())
    mine = dict(made.named_parameters())
    pairs += [(params[theirs], mine[key]) for key, theirs in weights.items() if key in mine]
    gradients = [
        torch.autograd.grad((out * cotangent).sum(), inputs, allow_unused=True)
        for out, inputs in ((y, [a for a, _ in pairs]), (z, [b for _, b in pairs]))
    ]
    largest = 0.0
    for one, other in zip(*gradients, strict=True):
        if one is None or other is None:
            known = [float(g.abs().max()) for g in (one, other) if g is not None]
            largest = max(largest, *known, 0.0)
        else:
            largest = max(largest, apart(one, other.reshape(one.shape)))
    return Beside(at, training, apart(y, z), largest)


def built(spec: Spec, at: At, layout: tuple[str, ...]) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module of a spec, and the axes of its output in order.

    A token spec for a fixed number of tokens is built for a map with as many positions.
    """
    channels = at.channels if "c" in layout else None
    size = at.size if "h" in layout else None
    try:
        made = build(spec, channels=channels, size=size, layout=layout, dtype=torch.float64)
    except ComposerError as failure:
        if "n" not in layout or any(d.code != "open-size" for d in failure.diagnostics):
            raise
        layout, size = ("b", "h", "w", "c"), at.size
        made = build(spec, channels=channels, size=size, layout=layout, dtype=torch.float64)
    graph = compiled(spec, settings_for(spec, channels, size=size, layout=layout))
    axes = graph.input_axes if graph.output == INPUT else graph.by_name[graph.output].axes
    assert axes is not None
    return made, axes.names


def apart(one: Tensor, other: Tensor) -> float:
    """Return the largest difference, relative to the largest number if that is above 1."""
    if not one.numel():
        return 0.0
    scale = max(1.0, float(one.detach().abs().max()))
    return float((one - other).detach().abs().max()) / scale


def randomise(module: nn.Module) -> None:
    """Randomise weights around 0, and the statistics of norms around 1."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            spread = 0.5 if parameter.dim() < 2 else parameter[0].numel() ** -0.5
            noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            parameter.copy_(noise * spread + (0.5 if parameter.dim() < 2 else 0))
        for key, buffer in module.named_buffers():
            if key.rpartition(".")[2] in ("running_mean", "running_var"):
                noise = torch.rand(buffer.shape, generator=draw, dtype=torch.float64)
                buffer.copy_(noise + 0.5)


def copy_weights(module: nn.Module, made: nn.Module, weights: Mapping[str, str]) -> bool:
    """Copy the module's weights into the built spec; return whether they fit."""
    theirs, mine = weights_of(module), weights_of(made)
    if any(key not in weights for key, _ in made.named_parameters()):
        return False
    if any(mine[key].numel() != theirs[source].numel() for key, source in weights.items()):
        return False
    with torch.no_grad():
        for key, source in weights.items():
            mine[key].copy_(theirs[source].reshape(mine[key].shape))
    return True
