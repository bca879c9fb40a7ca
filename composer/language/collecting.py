"""Python's garbage collector waits while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector wait; also a decorator.

    What reads, expands or lowers a spec makes hundreds of thousands of objects that stay. The
    collector would go through all of them, and through all of torch, again and again: half of the
    time of a spec of 10,000 nodes. Where it waits already, for a caller, it waits on.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
