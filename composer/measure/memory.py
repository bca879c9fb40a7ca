"""The peak memory of one step, on top of what is allocated before."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch

#: The profiler logs its start and stop on stderr; at this level it is silent.
_LOG, _SILENT = "KINETO_LOG_LEVEL", "99"


def peak_memory(step: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return the peak of the bytes that a step newly allocates.

    Earlier allocations that the step frees are subtracted: leave nothing, such as the gradients of
    an earlier step, for it to free. Run it once before, for allocations made only once.

    Args:
        step: the step to measure; it runs once.
        device: where it allocates. On CUDA its own counter is used, and on the CPU torch's
            profiler, which sees every tensor, including those of compiled code and workspaces that
            torch allocates for libraries.
    """
    place = torch.device(device)
    if place.type == "cuda":
        return _cuda_peak(step, place)
    return max(itertools.accumulate(_allocations(step)), default=0)


def _allocations(step: Callable[[], object]) -> Iterator[int]:
    """Yield the bytes of each allocation on the CPU in order; those freed are negative."""
    os.environ.setdefault(_LOG, _SILENT)
    profile: Any = torch.autograd.profiler.profile
    with profile(profile_memory=True) as run:
        kept = step()
    del kept
    events = [e for e in run.kineto_results.events() if e.name() == "[memory]"]
    yield from (e.nbytes() for e in sorted(events, key=lambda event: event.start_ns()))


def _cuda_peak(step: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    kept = step()
    torch.cuda.synchronize(device)
    del kept
    return max(0, torch.cuda.max_memory_allocated(device) - before)
