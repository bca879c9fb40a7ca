"""torch's own layer for a case, with the same hyperparameters; None where it has none."""

from __future__ import annotations

from cases import Case
from torch import Tensor, nn


class MultiheadAttention(nn.MultiheadAttention):
    """torch's attention with queries, keys and values from one value, without the weights."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Return tokens of the same shape."""
        out: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return out


def torch_layer(case: Case) -> nn.Module | None:
    """Return torch's layer, where it has one."""
    if case.name == "mhsa":
        return MultiheadAttention(case.channels, num_heads=8, batch_first=True)
    return None
