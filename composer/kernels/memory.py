"""Memory for large results, which costs more than the arithmetic: every page is faulted in.

Torch's allocator on the CPU hands what is large back to the system, so each new map of that size
is made of fresh pages of 4 KiB. Asked for pages of 2 MiB instead, Linux takes a third of the time.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: From this many bytes on; below, the allocator mostly has memory that was used before.
LARGE = 32 * 2**20
_PAGE = mmap.PAGESIZE


def is_large(x: Tensor) -> bool:
    """Return whether x is a plain tensor of at least `LARGE` bytes in main memory."""
    if torch.compiler.is_compiling() or type(x) is not Tensor:
        return False
    return x.numel() * x.element_size() >= LARGE and x.is_cpu and is_plain(x)


def is_plain(x: Tensor) -> bool:
    """Return whether x holds numbers of its own, and these alone.

    What stands for other tensors (of `torch.func`, of a trace, a fake one) does not, nor what
    carries a tangent.
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
    """Return memory for a result like x, which is large, in large pages where the system has them.

    Shape, dtype, device and strides are those of x where x is dense.
    """
    y = torch.empty_like(x)
    if (advise := _advise()) is not None:
        start = -(-y.data_ptr() // _PAGE) * _PAGE
        advise(start, y.data_ptr() + y.numel() * y.element_size() - start)
    return y


@cache
def _advise() -> Callable[[int, int], object] | None:
    """Return what asks the system for large pages, given where memory begins and its bytes."""
    large = getattr(mmap, "MADV_HUGEPAGE", None)
    if large is None:
        return None
    try:
        madvise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return lambda start, size: madvise(start, size, large)
