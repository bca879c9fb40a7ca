"""The rules from torch functions to ops, by function name."""

from __future__ import annotations

from collections.abc import Mapping

from composer.lifting.given import Rule
from composer.lifting.rules import (
    elementwise,
    layers,
    multi_head,
    norms,
    parts,
    products,
    reductions,
    shapes,
    windows,
)  # fmt: skip

RULES: Mapping[str, Rule] = {
    **elementwise.RULES,
    **shapes.RULES,
    **parts.RULES,
    **reductions.RULES,
    **layers.RULES,
    **multi_head.RULES,
    **norms.RULES,
    **products.RULES,
    **windows.RULES,
}
