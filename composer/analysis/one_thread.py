"""Runs torch's operators in the calling thread alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's operators in this thread alone; other threads keep their number.

    The passes of planning are short, and threads that wait for one another spin. On a busy machine
    they keep each other from finishing: planning CBAM in a ResNet-50 took 30 s beside two other
    processes on two cores, and takes 3 s so.

    torch has a number for each thread, and one that new threads start with. Setting the first also
    sets the second, which another thread puts back at once.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    other = threading.Thread(target=torch.set_num_threads, args=(before,))
    other.start()
    other.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
