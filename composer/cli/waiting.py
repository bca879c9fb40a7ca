"""How torch's threads wait for one another in a command."""

from __future__ import annotations

import os
import sys

POLICY = "OMP_WAIT_POLICY"


def wait_asleep() -> None:
    """Let torch's threads sleep while they wait, unless the user or a loaded torch decides.

    By default they spin, and on a busy machine keep each other from finishing: beside two other
    processes on two cores, ``composer insert --spec cbam --into resnet50`` took 268 s and 65 s of
    the CPU spinning, and 45 s and 11 s asleep.
    """
    if "torch" not in sys.modules:  # OpenMP reads it when torch loads it
        os.environ.setdefault(POLICY, "passive")
