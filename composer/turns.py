"""A lock around state that belongs to the whole process.

Random number generators, torch's mode flags, warning filters, loggers and `sys.path` belong to the
whole process. If two threads set one and restore it at once, the later one restores what the
earlier one had set. So Composer's threads take this lock there. The lock is reentrant.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: Held while process-wide state differs from what it was.
TURN = threading.RLock()

if hasattr(os, "register_at_fork"):  # a thread that held it does not run in the child
    _renew: Any = getattr(TURN, "_at_fork_reinit")  # noqa: B009 - every lock has it, and no stub does
    os.register_at_fork(after_in_child=_renew)


def in_turn(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function run in one thread at a time, while no other thread holds the lock."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with TURN:
            return function(*args, **kwargs)

    return call
