"""The kinds of place in a backbone, as in `at:`."""

from __future__ import annotations

from typing import Literal

#: At each block or stage, after the stem, before the head, at any module; or replacing a layer.
Place = Literal[
    "block", "stage", "stem", "head", "module", "conv", "attention", "norm", "mlp", "pool"
]
