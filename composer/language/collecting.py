"""Pausing Python's garbage collector while many long-lived objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector; also usable as a decorator.

    Reading, expanding or lowering a spec makes hundreds of thousands of long-lived objects. The
    collector would traverse all of them, and all of torch, again and again: half of the time for a
    spec of 10,000 nodes. If a caller has already paused it, it stays paused.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
