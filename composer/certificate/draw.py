"""Random weights, statistics and inputs, the same in every run."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Randomise every parameter and statistic, so that no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
        for key, tensor in module.named_buffers():
            if key.endswith("running_mean"):
                tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
            elif key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))


def random(*shape: int, seed: int = 1) -> Tensor:
    """Return normally distributed float64 numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
