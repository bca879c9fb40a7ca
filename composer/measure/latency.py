"""The latency of calls, measured side by side.

The speed of a machine drifts while others use it, and while it warms up. So the calls alternate,
round after round, each time starting with another one, and are compared round by round.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

#: The least duration of a timed stretch, in seconds: shorter calls are repeated within it.
STRETCH = 5e-4
_WARM_UP = 3  # uncounted calls, two for a slow one; compilation happens in the first


@dataclass(frozen=True)
class Timing:
    """The time of one call, in seconds, in each round."""

    rounds: tuple[float, ...]

    @property
    def runs(self) -> int:
        """The number of rounds."""
        return len(self.rounds)

    @property
    def median(self) -> float:
        """The median over the rounds, in seconds."""
        return statistics.median(self.rounds)

    @property
    def least(self) -> float:
        """The fastest round, in seconds: on a busy machine the least disturbed one."""
        return min(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile over the rounds, in seconds."""
        if self.runs == 1:
            return self.rounds[0], self.rounds[0]
        first, _, third = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return first, third

    def ratio(self, other: Timing) -> float:
        """Return the median ratio of this time to that of another call in the same rounds."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device | str = "cpu",
    seconds: float = 1.0,
    least_runs: int = 5,
) -> dict[str, Timing]:
    """Time calls alternately, after a warm-up.

    Args:
        calls: the calls to time, by name; each does its work on the device.
        device: the device; on CUDA its own clock is used.
        seconds: the time for each call, without the warm-up.
        least_runs: the least number of rounds, however long they take.

    Returns:
        The timing of each call; all have the same number of rounds.
    """
    place = torch.device(device)
    stretch = partial(_cuda_stretch, place) if place.type == "cuda" else _cpu_stretch
    repeats = {name: _repeats(call, stretch, seconds) for name, call in calls.items()}
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    names, done, begin = list(calls), 0, time.perf_counter()
    while done < least_runs or time.perf_counter() - begin < seconds * len(calls):
        first = done % len(names)
        for name in names[first:] + names[:first]:
            rounds[name].append(stretch(calls[name], repeats[name]))
        done += 1
    return {name: Timing(tuple(taken)) for name, taken in rounds.items()}


_Call = Callable[[], object]
_Stretch = Callable[[_Call, int], float]


def _repeats(call: _Call, stretch: _Stretch, seconds: float) -> int:
    """Warm a call up, and return how often it runs in one stretch."""
    once = [stretch(call, 1) for _ in range(2)]
    while len(once) < _WARM_UP and once[-1] < seconds / 10:
        once.append(stretch(call, 1))
    return max(1, math.ceil(STRETCH / max(min(once), 1e-7)))


def _cpu_stretch(call: _Call, repeats: int) -> float:
    """Return the seconds of one call, averaged over several in a row."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def _cuda_stretch(device: torch.device, call: _Call, repeats: int) -> float:
    """Return the same by the device's clock: launches count only if the device waits for them."""
    with torch.cuda.device(device):
        event: Any = torch.cuda.Event
        begin, end = event(enable_timing=True), event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        torch.cuda.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / 1000 / repeats
