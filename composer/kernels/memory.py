"""Memory for large results, which costs more than the arithmetic because of page faults.

Torch's CPU allocator returns large blocks to the system, so each new large map consists of fresh
4 KiB pages. With 2 MiB pages instead, Linux takes a third of the time.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: From this many bytes on; below, the allocator mostly reuses memory.
LARGE = 32 * 2**20
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
