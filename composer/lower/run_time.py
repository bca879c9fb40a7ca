"""Functions that lowered modules call on input sizes: to compute with them or to check them.

A symbolic trace has no value for a size, so it records one node for each of these calls.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import (
    handle_torch_function,
    has_torch_function,
    has_torch_function_unary,
)

from composer.language.expressions import Value
from composer.language.operations import OPERATIONS


def evaluated(tree: Any, **sizes: int) -> Value:
    """Return the value of an expression for given sizes.

    Only the branch taken is computed, so the other may divide by zero.

    Args:
        tree: a number, a name, or a tuple of an operation and its arguments.
        sizes: by name.
    """
    values = tuple(sizes.values())
    if has_torch_function(values):
        traced: Value = handle_torch_function(evaluated, values, tree, **sizes)
        return traced
    return _value(tree, sizes)


def _value(tree: Any, sizes: dict[str, int]) -> Value:
    if not isinstance(tree, tuple):
        value: Value = sizes[tree] if isinstance(tree, str) else tree
        return value
    operation, *parts = tree
    if operation == "if":
        return _value(parts[1] if _value(parts[0], sizes) else parts[2], sizes)
    result: Value = OPERATIONS[operation](*[_value(part, sizes) for part in parts])
    return result


def of_size(
    x: Tensor, axes: tuple[int, ...], size: tuple[int, ...], name: str, what: str = "tokens"
) -> Tensor:
    """Return x if it has the size that the mechanism `name` was built for.

    Args:
        x: its input, without prefix tokens.
        axes: the dimensions of height and width, or of the tokens.
        size: the required sizes.
        name: of the spec, for the message.
        what: the noun for a size that is one number.

    Raises:
        ValueError: x has another size.
    """
    if has_torch_function_unary(x):
        traced: Tensor = handle_torch_function(of_size, (x,), x, axes, size, name, what)
        return traced
    have = tuple([x.size(axis) for axis in axes])
    if have == size:
        return x
    if len(size) == 2:  # written out, so that torch.compile can also show the numbers
        both = f"maps of {size[0]}×{size[1]}, but this one is {have[0]}×{have[1]}"
    elif len(size) == 3:
        both = (
            f"maps of {size[0]}×{size[1]}×{size[2]}, but this one is {have[0]}×{have[1]}×{have[2]}"
        )
    else:
        both = f"{size[0]} {what}, but here are {have[0]}"
    raise ValueError(
        f"{name} here was built for {both}; insert it into a model made for that size, or build "
        "it for that size"
    )
