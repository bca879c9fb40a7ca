"""Axes that ride along, folded into the one batch axis that torch's layers take."""

from __future__ import annotations

from typing import Any

from composer.primitives.base import Emitter


def folded(emit: Emitter, x: Any, riding: int) -> Any:
    """Write x with its first `riding` axes as one."""
    if riding == 0:
        return emit.method("unsqueeze", x, 0)
    return x if riding == 1 else emit.method("flatten", x, 0, riding - 1)


def unfolded(emit: Emitter, node: Any, x: Any, riding: int) -> Any:
    """Write `node`, whose first axis is the first `riding` of x folded, with these apart again."""
    if riding == 0:
        return emit.method("squeeze", node, 0)
    if riding == 1:
        return node
    sizes = tuple(emit.method("size", x, axis) for axis in range(riding))
    return emit.method("unflatten", node, 0, sizes)
