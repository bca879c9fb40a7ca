"""Memory for large results, which costs more than the arithmetic because of page faults.

Torch's CPU allocator is the system's. glibc's returns a free block of 128 KiB or more to the system
when it lies last in memory, and any block above 32 MiB. So a new large map may consist of fresh
4 KiB pages; whether it does depends on what else was allocated and freed before. Each page costs
about 2 µs, which for a gate on a map takes longer than the arithmetic. Pages of 2 MiB, requested
here, take a fifth of that, and less memory traffic leaves fewer of them.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: From this many bytes on.
LARGE = 4 * 2**20
#: Bytes of a map that one thread processes while they are in its cache.
CACHED = 2 * 2**20
_PAGE = mmap.PAGESIZE


def is_large(x: Tensor) -> bool:
    """Return whether x is a plain tensor of at least `LARGE` bytes in main memory."""
    if torch.compiler.is_compiling() or type(x) is not Tensor:
        return False
    return x.numel() * x.element_size() >= LARGE and x.is_cpu and is_plain(x)


def is_plain(x: Tensor) -> bool:
    """Return whether x holds plain numbers and nothing else.

    Wrappers of other tensors (of `torch.func`, of a trace, fake ones) do not, nor do dual tensors
    with a tangent.
    """
    if type(x) is not Tensor:
        return False
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    tangent = forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]
    return tangent is None


def empty_like(x: Tensor) -> Tensor:
    """Return memory for a large result like x, in large pages if the system supports them.

    Shape, dtype, device and strides are those of x if x is dense.
    """
    y = torch.empty_like(x)
    if (advise := _advise()) is not None:
        start = -(-y.data_ptr() // _PAGE) * _PAGE
        advise(start, y.data_ptr() + y.numel() * y.element_size() - start)
    return y


def in_cache(x: Tensor) -> tuple[int, int]:
    """Return how to split a dense x: an axis, and how much of it fits into the caches at once."""
    axis = max(range(x.dim()), key=lambda a: x.stride(a) if x.shape[a] > 1 else -1)
    bytes_each = x.numel() * x.element_size() // max(x.shape[axis], 1)
    return axis, max(1, CACHED * torch.get_num_threads() // max(bytes_each, 1))


@cache
def _advise() -> Callable[[int, int], object] | None:
    """Return the function that requests large pages, given the start and size of memory."""
    large = getattr(mmap, "MADV_HUGEPAGE", None)
    if large is None:
        return None
    try:
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return lambda start, size: madvise(start, size, large)
