"""A run is claimed by a locked file, so that two workers never do one run at once.

The system gives the lock back when its process ends, however it ends: a run of a killed worker is
free again, and no clock decides who is dead. Where files cannot be locked, one worker is all there
may be.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from composer.files.room import fcntl

CAN_LOCK = fcntl is not None


@contextmanager
def claimed(folder: Path, key: str) -> Iterator[bool]:
    """Claim a run until the end of the block; False where another process has it."""
    if not CAN_LOCK:
        yield True
        return
    path = folder / f"{key}.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(lock)
