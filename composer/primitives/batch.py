"""Axes that ride along, folded into the single batch axis of torch's layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from composer.primitives.axes import Axes
from composer.primitives.base import Emitter, whole


def folded(emit: Emitter, x: Any, riding: int) -> Any:
    """Emit x with its first `riding` axes merged into one."""
    if riding == 0:
        return emit.method("unsqueeze", x, 0)
    return x if riding == 1 else emit.method("flatten", x, 0, riding - 1)


def unfolded(emit: Emitter, node: Any, x: Any, riding: int) -> Any:
    """Emit `node`, whose first axis is the first `riding` axes of x, with these split again."""
    if riding == 0:
        return emit.method("squeeze", node, 0)
    if riding == 1:
        return node
    sizes = tuple(emit.method("size", x, axis) for axis in range(riding))
    return emit.method("unflatten", node, 0, sizes)


def sizes_of(emit: Emitter, x: Any, axes: Axes, wanted: Sequence[str]) -> tuple[Any, ...]:
    """Return the sizes of some axes of x: numbers if known, else reads of x."""
    return tuple(
        whole(axes[axis]) if axes[axis].is_constant else emit.method("size", x, axes.index(axis))
        for axis in wanted
    )


def on_maps(
    emit: Emitter, x: Any, axes: Axes, over: Sequence[str], function: Callable[[Any], Any]
) -> Any:
    """Emit a function of [batch, channels, height, width], with two axes as height and width.

    The other axes become the first two; the last of them stays separate, which keeps the memory
    format of a map.
    """
    riding = axes.without(over).names
    order = (*riding, *(axis for axis in axes if axis in over))
    x = emit.arrange(x, axes.names, order)
    if not riding:
        x = emit.method("unsqueeze", x, 0)
    first = max(len(riding) - 1, 0)
    node = unfolded(emit, function(folded(emit, x, first)), x, first)
    if not riding:
        node = emit.method("squeeze", node, 0)
    return emit.arrange(node, order, axes.names)
