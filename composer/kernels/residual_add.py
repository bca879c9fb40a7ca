"""x + y in the memory of x, where x is new and nothing else reads it: a map less to write."""

from __future__ import annotations

import torch
from torch import Tensor

from composer.kernels.memory import is_plain


def residual_add(x: Tensor, y: Tensor) -> Tensor:
    """Return ``x + y``; x is not read again, and no gradient reads it."""
    if torch.compiler.is_compiling() or not (is_plain(x) and is_plain(y)):
        return x + y
    return x.add_(y) if x.dtype == y.dtype and x.shape == y.shape else x + y
