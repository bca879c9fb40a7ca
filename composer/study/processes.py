"""Several workers on one machine, each in its own process."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from composer.errors import ComposerError, Diagnostic, MissingPartError, error
from composer.study.opened import Opened
from composer.study.runs import Run
from composer.study.worker import Orphaned, Progress, over_budget, work

_POLL = 0.5  # seconds
_RESTARTS = 5  # of workers that end without a word, with no run ended in between

Todo = list[tuple[str, int]]


def work_in_processes(
    opened: Opened, todo: Sequence[Run], workers: int, screens: bool, progress: Progress
) -> None:
    """Do runs in several processes; a worker that is killed is replaced.

    Raises:
        ComposerError: results cannot be written, or workers end again and again.
    """
    context = multiprocessing.get_context("spawn")
    named = [(run.arm.name, run.seed) for run in todo]
    watch = _Watch(opened, todo, progress)
    running: list[tuple[Any, Connection]] = []
    restarts = 0
    try:
        while True:
            left = watch.left()
            if watch.news:
                restarts = 0
            if not left or over_budget(opened, workers):
                break
            alive = [(process, ours) for process, ours in running if process.is_alive()]
            for process, ours in running:
                if not process.is_alive():
                    _raise_what_it_reported(ours)
                    restarts += process.exitcode != 0
            if restarts > _RESTARTS:
                raise error(
                    "study",
                    f"{restarts} workers ended without a word, such as for lack of memory",
                    "take fewer --workers or a smaller 'batch'; finished runs are kept",
                )
            for _ in range(min(workers, len(left)) - len(alive)):
                ours, theirs = context.Pipe(duplex=False)
                args = (
                    opened.path, opened.store.path, str(opened.device), named, workers, screens,
                    os.getpid(), theirs,
                )  # fmt: skip
                process = context.Process(target=_worker, args=args, daemon=True)
                process.start()
                theirs.close()
                alive.append((process, ours))
            running = alive
            time.sleep(_POLL)
        for process, ours in running:
            process.join()
            _raise_what_it_reported(ours)
        watch.left()
    finally:
        for process, _ in running:
            process.terminate()


class _Watch:
    """Reports the runs that ended since the last look."""

    def __init__(self, opened: Opened, todo: Sequence[Run], progress: Progress) -> None:
        self.opened, self.todo, self.progress = opened, todo, progress
        self.seen: set[str] = set()
        self.news = False

    def left(self) -> list[Run]:
        ended = self.opened.store.ended()
        self.news = False
        for run in self.todo:
            if run.key in ended and run.key not in self.seen:
                self.seen.add(run.key)
                self.news = True
                self.progress.on_end(run, ended[run.key])
        return [run for run in self.todo if run.key not in ended]


def _raise_what_it_reported(ours: Connection) -> None:
    """Raise the error that a worker reported before it ended.

    Raises:
        ComposerError: it did.
    """
    if not ours.poll():
        return
    try:
        is_missing, diagnostics = ours.recv()
    except EOFError:
        return
    kind = MissingPartError if is_missing else ComposerError
    raise kind(diagnostics)


def _worker(
    path: Path,
    results: Path,
    device: str,
    named: Todo,
    workers: int,
    screens: bool,
    parent: int,
    theirs: Connection,
) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    try:
        opened = Opened.of(path, results, device)
        work(opened, _runs(opened, named), workers=workers, screens=screens, parent=parent)
    except ComposerError as failure:
        diagnostics: tuple[Diagnostic, ...] = failure.diagnostics
        theirs.send((isinstance(failure, MissingPartError), diagnostics))
    except (Orphaned, KeyboardInterrupt):
        pass


def _runs(opened: Opened, named: Todo) -> list[Run]:
    arms = {arm.name: arm for arm in opened.arms()}
    return [Run(opened.study, arms[name], seed) for name, seed in named]
