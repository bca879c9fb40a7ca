"""The seed of torch's random numbers, without touching devices that are not in use."""

from __future__ import annotations

import torch


def seed_torch(seed: int) -> None:
    """Seed torch's generator of the CPU, and those of the accelerators that are in use.

    `torch.manual_seed` also queues the seed for a GPU that is used later, which replaces the seed
    that the user queued; and it keeps a stack for each such device, which takes 5 ms.
    """
    if (
        torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        or torch.backends.mps.is_available()
        or torch.xpu.is_available()
    ):
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
