"""The seed of torch's random numbers, without a word to devices that are not in use."""

from __future__ import annotations

import torch


def seed_torch(seed: int) -> None:
    """Seed torch's generator of the CPU, and those of GPUs where CUDA is in use.

    `torch.manual_seed` leaves the seed with devices that begin later, too, over the one that the
    user left there; and it writes down a stack for each of them, which takes 5 ms.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
