"""What attention takes: values whose features lie side by side in memory.

Torch's fast attention wants them so, and falls back to one that keeps all weights otherwise. Of
such a fallback `torch.compile` (2.14) makes its own attention again where queries, keys and values
are each a permuted map, and takes any permute for one of heads and tokens: the result has another
shape, or wrong numbers. A copy is faster than the fallback, and keeps the two apart.
"""

from __future__ import annotations

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary


def features_last(x: Tensor) -> Tensor:
    """Return x itself where the numbers along its last axis lie side by side, else a copy."""
    if has_torch_function_unary(x):
        return handle_torch_function(features_last, (x,), x)
    return x if x.stride(-1) == 1 else x.contiguous()
