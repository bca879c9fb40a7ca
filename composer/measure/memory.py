"""How much memory one step takes at its peak, on top of what is there before."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch

#: The profiler's own log, on stderr, says when it starts and stops; at this level it says nothing.
_LOG, _SILENT = "KINETO_LOG_LEVEL", "99"


def peak_memory(step: Callable[[], object], device: torch.device | str = "cpu") -> int:
    """Return the most bytes that a step has newly allocated at any one time.

    What the step frees of what was there before counts against it: leave nothing, such as the
    gradients of an earlier step, for it to free. Run it once before, for what is made only once.

    Args:
        step: what is measured; it runs once.
        device: where it allocates: CUDA's own counter is read, and on the CPU torch's profiler,
            which sees every tensor, those of compiled code and of libraries' workspaces that torch
            allocates for them among them.
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
