"""How far a study is: a step for each arm, a bar over its runs, or a line for each run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from composer.cli.output import note_line
from composer.cli.steps import Steps
from composer.errors import counted
from composer.visible import visible_line

if TYPE_CHECKING:
    from composer.study.driver import Prepared
    from composer.study.opened import Opened
    from composer.study.runs import Run


@contextmanager
def each_arm(steps: Steps, verb: str) -> Iterator[Callable[[Any], None]]:
    """Show one step for each arm that a function is called with."""
    current: list[Any] = []

    def on_arm(arm: Any) -> None:
        end()
        step = steps.step(f"{verb} {arm.name}")
        step.__enter__()
        current.append(step)

    def end() -> None:
        while current:
            current.pop().__exit__(None, None, None)

    try:
        yield on_arm
    finally:
        end()


@contextmanager
def runs_bar(opened: Opened, prepared: Prepared) -> Iterator[Any]:
    """Show how many runs are done and how long the rest takes; without a terminal, a line each."""
    from composer.study.driver import remaining
    from composer.study.worker import Progress

    total = sum(map(len, remaining(opened, prepared)))
    if not sys.stderr.isatty():
        begun, count = time.monotonic(), 0

        def on_end(run: Run, status: str) -> None:
            nonlocal count
            count += 1
            spent = time.monotonic() - begun
            left = duration(spent / count * max(0, total - count))
            note_line(
                f"{count} of {counted(total, 'run')}: {run.arm.name}, seed {run.seed}: {status}; "
                f"{left} left"
            )

        yield Progress(on_end=on_end)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Rich

    bar = Rich(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[runs]} of {task.fields[all]} runs"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
    epochs = opened.study.training.epochs
    steps = epochs * max(1, len(opened.data.train) // opened.study.training.batch)
    task = bar.add_task("starting", total=total * steps, runs=0, all=total)
    ended = 0
    taken: dict[str, int] = {}

    def on_step(run: Run) -> None:
        taken[run.key] = taken.get(run.key, 0) + 1
        words = visible_line(f"{run.arm.name}, seed {run.seed}")
        bar.update(task, advance=1, description=words)

    def ends(run: Run, _status: str) -> None:
        nonlocal ended
        ended += 1
        rest = steps - taken.pop(run.key, 0)
        bar.update(task, advance=rest, runs=ended, description=visible_line(run.arm.name))

    with bar:
        yield Progress(on_step=on_step, on_end=ends)


def duration(seconds: float) -> str:
    """Return a time in words: ``40 s``, ``12 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
