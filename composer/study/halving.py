"""Early stopping of arms by successive halving; which run stops is Optuna's decision.

Arms are screened on a seed that no comparison uses. To stop runs on the seeds that are compared
would keep the lucky seeds of an arm, and its mean would be too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from composer.study.extra import library
from composer.study.outcome import Epoch
from composer.study.study_file import Halving


def stops(halving: Halving, others: Iterable[Sequence[Epoch]], current: Sequence[Epoch]) -> bool:
    """Return whether a run stops after its last epoch.

    Args:
        halving: how many arms go on, and from which epoch.
        others: the epochs so far of the other screened runs, in the order that they were written.
        current: those of the run.

    Raises:
        MissingPartError: Optuna is not installed.
    """
    optuna: Any = library("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=halving.min_epochs, reduction_factor=halving.reduction
    )
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for epochs in others:
        _replay(study, epochs)
    return _replay(study, current)


def _replay(study: Any, epochs: Sequence[Epoch]) -> bool:
    """Report epochs to a new trial; return whether it is to stop after the last."""
    trial, stop = study.ask(), False
    for epoch in epochs:
        trial.report(epoch.accuracy, epoch.epoch)
        stop = bool(trial.should_prune())
    return stop


def went_on(statuses: Mapping[str, str]) -> set[str]:
    """Return the arms that are not stopped, of the status of each one's screened run."""
    return {arm for arm, status in statuses.items() if status == "done"}
