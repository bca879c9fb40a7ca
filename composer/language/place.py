"""The kinds of place that something goes to in a backbone."""

from __future__ import annotations

from typing import Literal

#: At each block or stage, after the stem, before the head, at any module; in place of layers.
Place = Literal[
    "block", "stage", "stem", "head", "module", "conv", "attention", "norm", "mlp", "pool"
]
