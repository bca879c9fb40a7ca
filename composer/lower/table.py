"""The module that keeps a table of numbers, computed anew for each dtype."""

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
    """The numbers that an expression comes to, one for each place along the axes.

    They are no part of the state dict. A table in float64 is made in float64, and not from what
    was rounded to the dtype before; it is kept flat, so that no memory format is asked of it.
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
        """Return what a print of the model shows."""
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
    """Return where to compute: on the CPU, for another's functions round in another way."""
    return "meta" if torch.get_default_device().type == "meta" else "cpu"


def _kept(found: Tensor) -> Tensor:
    return found.flatten().to(torch.get_default_device(), torch.get_default_dtype())


def _without_value(expression: Expr, axes: Axes, found: Tensor) -> AxisProblem:
    """Return the problem of the first place where an expression has no value, in its words."""
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
