"""Large maps, of which memory costs more than the arithmetic.

Torch's CPU allocator is the system's. glibc's returns a free block of 128 KiB or more to the system
when it lies last in memory, and any block above 32 MiB. So a new large map may consist of fresh
pages of 4 KiB; whether it does depends on what else was allocated and freed before. Each page costs
about 2 µs, which for a gate on a map takes longer than the arithmetic. So the kernels write as few
maps as they can, part by part, so that what is read twice is still in the caches.

Pages of 2 MiB are no way out. Mostly they take a fifth of the time, but in a virtual machine whose
host provides memory only when it is touched, the same step takes 35 or 270 ms by chance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: From this many bytes on.
LARGE = 4 * 2**20
#: Bytes of a map that one thread processes while they are in its cache.
CACHED = 2 * 2**20


def is_large(x: Tensor) -> bool:
    """Return whether x is a plain tensor of at least `LARGE` bytes in main memory."""
    if torch.compiler.is_compiling() or type(x) is not Tensor:
        return False
    return x.numel() * x.element_size() >= LARGE and x.is_cpu and is_plain(x)


def exceeds_caches(x: Tensor) -> bool:
    """Return whether a large x is read from memory again if all of it is read twice."""
    return is_large(x) and x.numel() * x.element_size() >= 8 * LARGE


def is_plain(x: Tensor) -> bool:
    """Return whether x holds plain numbers and nothing else.

    Wrappers of other tensors (of `torch.func`, of a trace, fake ones) do not, nor do dual tensors
    with a tangent. While TorchScript traces, none does, since it can't save a function of ours.
    """
    if type(x) is not Tensor or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    tangent = forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]
    return tangent is None


def needs_gradient(*tensors: Tensor) -> bool:
    """Return whether a gradient of one of these may be asked for."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def in_cache(x: Tensor) -> tuple[int, int]:
    """Return how to split a dense x: an axis, and how much of it fits into the caches at once."""
    axis = max(range(x.dim()), key=lambda a: x.stride(a) if x.shape[a] > 1 else -1)
    bytes_each = x.numel() * x.element_size() // max(x.shape[axis], 1)
    return axis, max(1, CACHED * torch.get_num_threads() // max(bytes_each, 1))
