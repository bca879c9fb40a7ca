"""The norms: which values share statistics, and how they are scaled.

    batch       x − mean over all axes but `over`, divided by the standard deviation
    layer       the same over the axes `over`, at each position of all others
    group       the same over the axes `over`, in groups of the first of them
    instance    like layer, over the axes of a map
    rms         x divided by the root mean square over `over`
    l2          x divided by the larger of its length over `over` and eps

Then comes a weight and a bias along the axes `affine`; rms and l2 have only a weight. This serves
both the op `norm` and the norm after a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from composer.primitives.axes import Axes
from composer.primitives.base import Emitter, elements, whole
from composer.primitives.batch import folded, unfolded
from composer.primitives.cost import Cost, of_norm
from composer.primitives.parameter import learned

if TYPE_CHECKING:
    from torch import Tensor, nn

#: The norms by their names in a spec, with their symbols in formulas.
NORMS: Mapping[str, str] = {
    "batch": "BN", "layer": "LN", "group": "GN", "instance": "IN", "rms": "RMS", "l2": "L2",
}  # fmt: skip
#: The default eps of a norm; for l2 it is the minimum length.
EPS: Mapping[str, float] = {**dict.fromkeys(NORMS, 1e-5), "l2": 1e-12}
#: Norms without mean subtraction, which have no bias; torch computes them elementwise.
UNCENTRED = ("rms", "l2")

_OF_MAPS = 3  # axes other than the channels: batch, height and width
_BEHIND = 3  # torch has batch norms for up to three axes after the channels
_DIMS = 3  # a module keeps parameters of up to so many axes in any memory format


@dataclass(frozen=True)
class Statistics:
    """A bound norm: the axes of its statistics, and the axes of its weights."""

    fn: str
    over: tuple[str, ...]
    affine: tuple[str, ...]
    eps: float
    groups: int = 1
    momentum: float = 0.1
    scale: float = 1.0

    def shape(self, axes: Axes) -> tuple[int, ...]:
        """Return the sizes of its weights for a value with these axes.

        Raises:
            AxisProblem: code ``open-size``.
        """
        return tuple(whole(axes[axis]) for axis in self.affine)

    def cost(self, axes: Axes) -> Cost:
        """Return the cost of the norm for a value with these axes.

        Raises:
            AxisProblem: code ``open-size``.
        """
        centred = self.fn not in UNCENTRED
        weights = math.prod(self.shape(axes)) if self.affine else 0
        return of_norm(weights, elements(axes) if centred else 0, centred)

    def write(self, emit: Emitter, x: Any, axes: Axes) -> Any:
        """Emit the norm of a value with these axes in memory order; the output has the same."""
        if self.fn == "batch":
            return self._batch(emit, x, axes)
        if self.fn == "l2":
            from composer.kernels.length import normalized

            where = tuple(sorted(map(axes.index, self.over)))
            node = emit.function(normalized, x, where, self.eps)
            return self._scaled(emit, node, axes.names, axes)
        if self.fn == "group":
            return self._grouped(emit, x, axes, self.over[0], self.groups)
        if self.fn != "rms" and len(self.affine) == 1:
            (channels,) = self.affine
            if channels not in self.over:
                return self._grouped(emit, x, axes, channels, whole(axes[channels]))
            if len(self.over) > 1:
                return self._grouped(emit, x, axes, channels, 1)
        return self._last(emit, x, axes)

    def _batch(self, emit: Emitter, x: Any, axes: Axes) -> Any:
        from torch import nn

        (channels,) = self.over
        rest, where = axes.without(self.over).names, axes.index(channels)
        if where == len(rest) == _OF_MAPS:  # channels-last maps
            where = 1
        first = max(where, len(rest) - _BEHIND)
        order = (*rest[:first], channels, *rest[first:])
        kind = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(rest) - first]
        module = kind(
            whole(axes[channels]), eps=self.eps, momentum=self.momentum, affine=bool(self.affine)
        )
        x = emit.arrange(x, axes.names, order)
        node = emit.module("norm", self._begun(module), folded(emit, x, first))
        return emit.arrange(unfolded(emit, node, x, first), order, axes.names)

    def _grouped(self, emit: Emitter, x: Any, axes: Axes, channels: str, groups: int) -> Any:
        """Emit torch's group norm: with one group a layer norm, with all an instance norm.

        It keeps the memory format of a map, and accepts maps of any size.
        """
        from torch import nn
        from torch.nn import functional

        places = tuple(axis for axis in axes if axis in self.over and axis != channels)
        rest = axes.without([channels, *places]).names
        order = (*rest, channels, *places)
        x = emit.arrange(x, axes.names, order)
        node = folded(emit, x, len(rest))
        if self.affine == (channels,):
            module = nn.GroupNorm(groups, whole(axes[channels]), eps=self.eps)
            node = emit.module("norm", self._begun(module), node)
            node = unfolded(emit, node, x, len(rest))
        else:
            node = emit.function(functional.group_norm, node, groups, eps=self.eps)
            node = self._scaled(emit, unfolded(emit, node, x, len(rest)), order, axes)
        return emit.arrange(node, order, axes.names)

    def _last(self, emit: Emitter, x: Any, axes: Axes) -> Any:
        """Emit torch's norm over the last axes, merged first if the weights have other axes."""
        from torch import nn
        from torch.nn import functional

        own = set(self.affine) == set(self.over) and len(self.over) <= _DIMS
        over = self.affine if own else tuple(axis for axis in axes if axis in self.over)
        rest = axes.without(over).names
        order = (*rest, *over)
        x = emit.arrange(x, axes.names, order)
        if own:
            kind = nn.RMSNorm if self.fn == "rms" else nn.LayerNorm
            module = kind(self.shape(axes), eps=self.eps)
            return emit.arrange(emit.module("norm", self._begun(module), x), order, axes.names)
        flat = emit.method("flatten", x, len(rest)) if len(over) > 1 else x
        norm = functional.rms_norm if self.fn == "rms" else functional.layer_norm
        node = emit.function(norm, flat, (emit.method("size", flat, -1),), eps=self.eps)
        if len(over) > 1:
            sizes = tuple(emit.method("size", x, len(rest) + i) for i in range(len(over)))
            node = emit.method("unflatten", node, len(rest), sizes)
        return emit.arrange(self._scaled(emit, node, order, axes), order, axes.names)

    def _scaled(self, emit: Emitter, x: Any, names: tuple[str, ...], axes: Axes) -> Any:
        """Emit the weight and the bias along `affine` for a value with the axes `names`."""
        import torch

        if not self.affine:
            return x
        shape = self.shape(axes)

        def along(tensor: Tensor, local: str) -> Any:
            return emit.arrange(learned(emit, tensor, f"norm.{local}"), self.affine, names)

        weight = along(torch.full(shape, self.scale), "weight")
        if self.fn in UNCENTRED:
            return emit.method("mul", x, weight)
        return emit.function(torch.addcmul, along(torch.zeros(shape), "bias"), x, weight)

    def _begun(self, module: nn.Module) -> nn.Module:
        from torch import nn

        if self.affine:
            nn.init.constant_(module.weight, self.scale)  # type: ignore[arg-type]
        return module
