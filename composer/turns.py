"""What a process has once, one thread at a time.

Random number generators, flags of torch's modes, filters of warnings, loggers and `sys.path` belong
to the whole process. Who sets one and gives it back must not meet another who does: the one that
ends last would give back what the other had set. So Composer's threads take turns there. A turn
may be taken inside a turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: To be held while something that a process has once is other than it was.
TURN = threading.RLock()

if hasattr(os, "register_at_fork"):  # a thread that held it does not go on in the child
    _renew: Any = getattr(TURN, "_at_fork_reinit")  # noqa: B009 - of every lock, and of no stub
    os.register_at_fork(after_in_child=_renew)


def in_turn(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function run in one thread at a time, and while no other has its turn."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with TURN:
            return function(*args, **kwargs)

    return call
