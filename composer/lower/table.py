"""The module that holds a table of constants, recomputed for each dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from composer.kernels.table import values
from composer.language.expressions import Expr, ExpressionError, bind
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, whole
from composer.primitives.constant import index_of, shown, without_value


class Table(nn.Module):
    """The values of an expression, one for each index along the axes.

    They are not in the state dict. After a change of dtype the table is recomputed, not converted
    from rounded values; it is stored flat, so that no memory format applies to it.
    """

    value: Tensor

    def __init__(self, expression: Expr, tree: Any, axes: Axes) -> None:
        super().__init__()
        self.tree, self.names = tree, tuple(map(index_of, axes))
        self.lengths = tuple(whole(size) for _, size in axes.sizes)
        found = values(self.tree, self.names, self.lengths, {}, _where(), strict=True)
        if type(found) is Tensor and not found.is_meta and bool(found.isnan().any()):
            raise _without_value(expression, axes, found)
        self.register_buffer("value", _kept(found), persistent=False)

    def forward(self) -> Tensor:
        """Return the table."""
        return self.value.view(self.lengths)

    def extra_repr(self) -> str:
        """Return the description shown when a model is printed."""
        return "×".join(map(str, self.lengths))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Table:
        before = self.value
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = self.value
        if after is not before and type(after) is Tensor and not after.is_meta:
            found = values(self.tree, self.names, self.lengths, {}, "cpu")
            self.value = found.flatten().to(after)
        return self


def _where() -> str:
    """Return the device to compute on: the CPU, because other devices round differently."""
    return "meta" if torch.get_default_device().type == "meta" else "cpu"


def _kept(found: Tensor) -> Tensor:
    return found.flatten().to(torch.get_default_device(), torch.get_default_dtype())


def _without_value(expression: Expr, axes: Axes, found: Tensor) -> AxisProblem:
    """Return the problem of the first index at which an expression has no value."""
    place = found.isnan().nonzero()[0].tolist()
    at = {
        axis: number
        for axis, number in zip(axes, place, strict=True)
        if index_of(axis) in expression.names
    }
    try:
        bind(expression, {index_of(axis): number for axis, number in at.items()})
    except ExpressionError as failure:
        return without_value(expression, at, failure.code, failure.message)
    return without_value(expression, at, "no-value", f"{shown(expression)} has no value")
