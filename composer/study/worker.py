"""One worker: it claims a run, trains it, writes the result, and takes the next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from composer.errors import ComposerError
from composer.study.claims import claimed
from composer.study.halving import stops
from composer.study.opened import Opened
from composer.study.outcome import Epoch, Outcome
from composer.study.runs import Run

#: What ends a worker, and is no fault of the run: results or checkpoints cannot be written.
_FATAL = frozenset({"results", "output", "missing-library"})
_WAIT = 0.5  # seconds until runs of others are looked at again


class Orphaned(Exception):  # noqa: N818 - what happened, not a fault
    """The process that started this worker has ended."""


@dataclass(frozen=True)
class Progress:
    """What a worker reports on: called with a run and the steps that it took."""

    on_step: Callable[[Run], None] = lambda _run: None
    on_end: Callable[[Run, str], None] = lambda _run, _status: None


def work(
    opened: Opened,
    todo: Sequence[Run],
    *,
    workers: int = 1,
    screens: bool = False,
    parent: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Do runs until all have ended, or the budget is spent.

    Args:
        opened: the study.
        todo: the runs; those that have ended are passed over.
        workers: how many work at once, for the budget.
        screens: whether successive halving may stop these runs.
        parent: the process that this worker ends with.
        progress: what to call.

    Raises:
        ComposerError: results or checkpoints cannot be written.
        Orphaned: the parent ended.
    """
    progress = progress or Progress()
    while True:
        ended = opened.store.ended()
        left = [run for run in todo if run.key not in ended]
        if not left or over_budget(opened, workers):
            return
        took = False
        for run in left:
            with claimed(opened.checkpoints, run.key) as is_ours:
                if not is_ours or run.key in opened.store.ended():
                    continue
                took = True
                keys = [other.key for other in todo if other.key != run.key] if screens else None
                _do(opened, run, keys, parent, progress)
            break
        if not took:
            _check_parent(parent)
            time.sleep(_WAIT)


def over_budget(opened: Opened, workers: int) -> bool:
    """Return whether another run would go over the budget, by the mean of those that ended."""
    budget = opened.study.budget
    if budget is None:
        return False
    ended, spent = len(opened.store.ended()), opened.store.seconds()
    mean = spent / ended if ended else 0.0
    return spent + workers * mean > budget.worker_hours * 3600


def _do(
    opened: Opened, run: Run, screened: Sequence[str] | None, parent: int | None, progress: Progress
) -> None:
    store, halving = opened.store, opened.study.halving

    def on_epoch(epoch: Epoch) -> bool:
        store.write_epoch(run.key, epoch)
        if screened is None or halving is None:
            return False
        epochs = store.epochs()
        others = [found for key, found in epochs.items() if key in screened]
        return stops(halving, others, epochs[run.key])

    def on_step() -> None:
        _check_parent(parent)
        progress.on_step(run)

    message = None
    try:
        outcome = opened.trainer.train(run, on_epoch, on_step)
    except Orphaned:
        raise
    except ComposerError as failure:
        if failure.diagnostics[0].code in _FATAL:
            raise
        outcome, message = Outcome(status="failed"), failure.diagnostics[0].message
    except Exception as failure:  # whatever the code of the model or of timm raises
        said = (str(failure).strip().splitlines() or ["no message"])[0]
        outcome, message = Outcome(status="failed"), f"{type(failure).__name__}: {said}"
    store.write_result(run, outcome, opened.machine, message)
    opened.trainer.finish(run)
    progress.on_end(run, outcome.status)


def _check_parent(parent: int | None) -> None:
    """End with the process that started this one, so that no worker is left over.

    Raises:
        Orphaned: it has ended.
    """
    if parent is not None and os.getppid() != parent:
        raise Orphaned
