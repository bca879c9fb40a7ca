"""The kernel that multiplies a value by a weight with fewer axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from composer.language.expressions import Expr
from composer.primitives.base import Emitter


def weighed_by(emit: Emitter, value: Expr) -> Callable[..., Any]:
    """Return the kernel: one in place where nothing else reads the value."""
    from composer.kernels.weighed_sum import weighed, weighed_in_place

    return weighed_in_place if emit.is_spent(value) else weighed
