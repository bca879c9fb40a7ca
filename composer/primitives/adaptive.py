"""Adaptive pooling: to given sizes, like torch's adaptive pools."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from composer.language.expressions import Expr, constant
from composer.primitives.base import Emitter
from composer.primitives.batch import on_maps


def pooled_to(emit: Emitter, ref: Expr, sizes: Mapping[str, Expr], reduce: str) -> Any:
    """Emit a value pooled to the given sizes by ``mean`` or ``max``.

    An axis of new size 1 is reduced, and one that keeps its size is skipped: torch's own pools are
    slower for both, and need numbers where a size is open.
    """
    from torch.nn import functional

    axes = emit.axes(ref)
    changed = [axis for axis in axes if axis in sizes and sizes[axis] != axes[axis]]
    if not changed:
        return emit.node(ref)
    if all(sizes[axis] == constant(1) for axis in changed):
        where = tuple(map(axes.index, changed))
        return emit.method("amax" if reduce == "max" else reduce, emit.node(ref), where, True)
    kinds: dict[str, tuple[Callable[..., Any], ...]] = {
        "mean": (
            functional.adaptive_avg_pool1d,
            functional.adaptive_avg_pool2d,
            functional.adaptive_avg_pool3d,
        ),
        "max": (
            functional.adaptive_max_pool1d_with_indices,  # those without can't be pickled
            functional.adaptive_max_pool2d_with_indices,
            functional.adaptive_max_pool3d_with_indices,
        ),
    }
    pool = kinds[reduce][len(changed) - 1]
    lengths = tuple(emit.size(sizes[axis]) for axis in changed)

    def function(x: Any) -> Any:
        found = emit.function(pool, x, lengths)
        return emit.function(operator.getitem, found, 0) if reduce == "max" else found

    return on_maps(emit, emit.node(ref), axes, changed, function)
