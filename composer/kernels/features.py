"""Makes the features of attention's operands contiguous in memory.

Torch's fast attention requires this, and otherwise falls back to one that stores all weights. If
queries, keys and values are each a permuted map, `torch.compile` (2.14) turns the fallback back
into its own attention, and mistakes any permute for one of heads and tokens: the result has the
wrong shape or wrong values. A copy is faster than the fallback, and avoids this.
"""

from __future__ import annotations

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary


def features_last(x: Tensor) -> Tensor:
    """Return x if its last axis is contiguous in memory, else a copy."""
    if has_torch_function_unary(x):
        return handle_torch_function(features_last, (x,), x)
    return x if x.stride(-1) == 1 else x.contiguous()
