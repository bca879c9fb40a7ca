"""What glibc does with the memory that a process frees, set so that it is the same for all rivals.

By itself glibc decides from what a process allocated and freed before, so that the same step takes
no page fault or thousands. A training of a whole network frees so much after each step that nearly
every large map of the next one is fresh.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of malloc.h
_LARGE = 128 * 1024

#: How memory is kept: what to set, as the options of ``mallopt`` and their values.
HEAPS: dict[str, tuple[tuple[int, int], ...]] = {
    "default": (),  # as glibc decides
    "fresh": ((_MMAP_THRESHOLD, _LARGE),),  # every large block is asked of the system
    "kept": ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1)),  # nothing is returned to it
}


def set_heap(name: str) -> None:
    """Let this process keep or return its memory.

    Raises:
        OSError: its C library has no ``mallopt``, or refuses.
    """
    for option, value in HEAPS[name]:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is None or not mallopt(option, value):
            raise OSError(f"the C library has no heap that is {name!r}: choose --heaps default")
