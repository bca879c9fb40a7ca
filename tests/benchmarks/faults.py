"""What decides on a CPU: the page faults of a step, beside its time in the program and the system.

``python tests/benchmarks/faults.py --specs eca,se --shapes 512x28x28 --batches 8`` runs each rival
of a case in a process of its own, and prints the medians over the steps. A fault is a page of
memory that the system must first provide; how many there are depends on what glibc returned to
the system before, and with it on everything that the process has allocated and freed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Sequence

import torch
from apart import alone
from cases import SHAPES, Case, cases
from modes import Setting
from rivals import NAMES, rivals

HEADING = f"{'':<32}{'':<8}{'MiB':>8}{'faults':>10}{'program ms':>12}{'system ms':>11}{'ms':>9}"


def measure(case: Case, name: str, mode: str, steps: int) -> tuple[float, ...] | None:
    """Return faults, CPU milliseconds of the program and the system, and milliseconds of a step."""
    modules = rivals(case)
    if name not in modules:
        return None
    setting = Setting(mode)
    with setting.running():
        call = setting.calls(case, {name: modules[name]})[name]
        for _ in range(4):
            call()
        rows = [_step(call) for _ in range(steps)]
    return tuple(statistics.median(column) for column in zip(*rows, strict=True))


def _step(call: object) -> tuple[float, ...]:
    assert callable(call)
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    call()
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
    return (
        after.ru_minflt - before.ru_minflt,
        1e3 * (after.ru_utime - before.ru_utime),
        1e3 * (after.ru_stime - before.ru_stime),
        1e3 * seconds,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each rival of each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--specs", default="se,eca,cbam", metavar="S,S")
    parser.add_argument("--shapes", default="256x56x56,512x28x28", metavar="CxHxW,CxHxW")
    parser.add_argument("--batches", default="8", metavar="N,N")
    parser.add_argument("--mode", choices=("eager", "training"), default="training")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--steps", type=int, default=21, metavar="N")
    told = parser.parse_args(arguments)
    if unknown := [name for name in told.specs.split(",") if name not in SHAPES]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(SHAPES)}")
    torch.set_num_threads(told.threads)
    print(HEADING)
    chosen = cases(
        told.specs.split(","), [int(n) for n in told.batches.split(",")], told.shapes.split(",")
    )
    for case in chosen:
        size = case.batch * torch.empty(case.shape, device="meta").numel() * 4 / 2**20
        for name in NAMES:
            if (found := alone(measure, case, name, told.mode, told.steps)) is not None:
                faults, program, system, taken = found
                print(
                    f"{case!s:<32}{name:<8}{size:>8.1f}{faults:>10,.0f}{program:>12.1f}"
                    f"{system:>11.1f}{taken:>9.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
