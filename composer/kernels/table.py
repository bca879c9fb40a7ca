"""A table of numbers from an expression: T[i, j] = f(i, j), with indices from 0.

It is computed in float64 on grids that broadcast, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from composer.language.expressions import MAX_MAGNITUDE, MAX_POWER
from composer.language.operations import OPERATIONS

_EXACT = torch.float64

#: The tensor function for each operation; comparisons return 1 and 0.
_OF_TENSORS: Mapping[str, Callable[..., Tensor]] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "%": torch.remainder,
    "//": lambda x, y: torch.div(x, y, rounding_mode="floor"), "**": torch.pow,
    "negative": torch.neg, "==": torch.eq, "!=": torch.ne, "<": torch.lt, "<=": torch.le,
    ">": torch.gt, ">=": torch.ge, "min": lambda *x: reduce(torch.minimum, x),
    "max": lambda *x: reduce(torch.maximum, x), "abs": torch.abs, "ceil": torch.ceil,
    "floor": torch.floor, "round": torch.round, "log": torch.log, "log2": torch.log2,
    "exp": torch.exp, "sqrt": torch.sqrt, "sin": torch.sin, "cos": torch.cos,
    "odd": lambda x: x.trunc() + (x.trunc().remainder(2) == 0),
}  # fmt: skip


def table(
    x: Tensor, tree: Any, names: tuple[str, ...], lengths: tuple[int, ...], **sizes: int
) -> Tensor:
    """Return the table in the dtype and on the device of x.

    Args:
        x: the input of the mechanism.
        tree: the expression: a number, a name, or a tuple of an operation and its arguments.
        names: of the indices, one for each axis.
        lengths: the sizes of the axes.
        sizes: of the input, which the expression may also name.
    """
    overridden = (x, *lengths, *sizes.values())
    if has_torch_function(overridden):
        traced: Tensor = handle_torch_function(table, overridden, x, tree, names, lengths, **sizes)
        return traced
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return values(tree, names, lengths, sizes, x.device).to(dtype)


def values(
    tree: Any,
    names: Sequence[str],
    lengths: Sequence[int],
    sizes: Mapping[str, int],
    device: torch.device | str,
    strict: bool = False,
) -> Tensor:
    """Return the table in float64; if `strict`, NaN marks where the expression is undefined."""
    known: dict[str, Any] = dict(sizes)
    for place, (name, length) in enumerate(zip(names, lengths, strict=True)):
        grid = torch.arange(length, dtype=_EXACT, device=device)
        known[name] = grid.reshape(-1, *(1 for _ in names[place + 1 :]))
    found = _value(tree, known, strict)
    if not isinstance(found, Tensor):
        return torch.full(tuple(lengths), found, dtype=_EXACT, device=device)
    return found.expand(tuple(lengths))


def _value(tree: Any, known: Mapping[str, Any], strict: bool) -> Any:
    if not isinstance(tree, tuple):
        return known[tree] if isinstance(tree, str) else tree
    operation, *parts = tree
    if operation == "if":
        test, body, orelse = parts
        holds = _value(test, known, strict)
        if not isinstance(holds, Tensor):
            return _value(body if holds else orelse, known, strict)
        one, other = (_tensor(_value(part, known, strict), holds) for part in (body, orelse))
        chosen = torch.where(holds != 0, one, other)
        return torch.where(holds.isnan(), torch.nan, chosen) if strict else chosen
    taken = [_value(part, known, strict) for part in parts]
    like = next((one for one in taken if isinstance(one, Tensor)), None)
    if like is None:
        return OPERATIONS[operation](*taken)
    taken = [_tensor(one, like) for one in taken]
    result = _OF_TENSORS[operation](*taken).to(_EXACT)
    if not strict:
        return result
    sound = result.isfinite() & (result.abs() <= MAX_MAGNITUDE)
    for one in taken:
        sound = sound & ~one.isnan()
    if operation == "**":
        sound = sound & (taken[1].abs() <= MAX_POWER)
    return torch.where(sound, result, torch.nan)


def _tensor(number: Any, like: Tensor) -> Tensor:
    """Return a number as a scalar tensor; a traced size stays traced."""
    if isinstance(number, Tensor):
        return number
    return torch.full((), number, dtype=_EXACT, device=like.device)
