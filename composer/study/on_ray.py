"""The runs of a study on a Ray cluster; results are written by the one process that asks for them.

A run is a task. One whose worker or node is lost is asked for again, and goes on from its
checkpoint where the study's folder is one that all nodes share, as it has to be for the study file,
its specs and its data.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from composer.errors import ComposerError, error
from composer.study.claims import claimed
from composer.study.extra import library
from composer.study.opened import Opened
from composer.study.outcome import Outcome
from composer.study.runs import Run
from composer.study.worker import Progress, over_budget

ATTEMPTS = 4  # of one run, before it is given up as lost


def address_of(word: str) -> str:
    """Return the address in ``ray``, ``ray:HOST:PORT`` or ``ray://HOST:PORT``."""
    if word == "ray":
        return "auto"
    return word if word.startswith("ray://") else word.removeprefix("ray:")


def work_on_ray(
    opened: Opened, todo: Sequence[Run], address: str, workers: int, progress: Progress
) -> None:
    """Do runs on a cluster that is there.

    Args:
        opened: the study.
        todo: the runs.
        address: of the cluster, as ``ray.init`` takes it.
        workers: how many runs at once at most; 1 is as many as the cluster has cores.
        progress: what to call when a run ends.

    Raises:
        ComposerError: there is no cluster, or results cannot be written.
        MissingPartError: Ray is not installed.
    """
    ray = library("ray", "ray")
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as failure:
        said = (str(failure).strip().splitlines() or ["no answer"])[0]
        message = f"no Ray cluster answers at {address!r}: {said}"
        raise error("study", message, "start one with 'ray start --head'") from None
    task = ray.remote(num_cpus=1, max_retries=0)(train_one)
    at_once = workers if workers > 1 else max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting, attempts = list(todo), dict.fromkeys((run.key for run in todo), 0)
    flying: dict[Any, tuple[Run, ExitStack]] = {}
    where = opened.path.absolute(), opened.store.path.absolute(), str(opened.device)
    with ExitStack() as all_claims:
        while waiting or flying:
            while waiting and len(flying) < at_once and not over_budget(opened, at_once):
                run = waiting.pop(0)
                claim = ExitStack()
                if not claim.enter_context(claimed(opened.checkpoints, run.key)):
                    continue  # another process does it
                all_claims.callback(claim.close)
                attempts[run.key] += 1
                flying[task.remote(*where, run.arm.name, run.seed)] = run, claim
            if not flying:
                return
            (ready,), _ = ray.wait(list(flying), num_returns=1)
            run, claim = flying.pop(ready)
            try:
                outcome, machine, message = ray.get(ready)
            except ray.exceptions.RayTaskError as failure:
                cause = failure.cause
                if isinstance(cause, ComposerError):
                    raise cause from None
                outcome, machine = Outcome(status="failed"), opened.machine
                message = f"{type(cause).__name__}: {cause}"
            except ray.exceptions.RayError as failure:
                if attempts[run.key] < ATTEMPTS:
                    claim.close()
                    waiting.insert(0, run)
                    continue
                outcome, machine = Outcome(status="failed"), opened.machine
                message = f"lost {ATTEMPTS} times: {type(failure).__name__}"
            opened.store.write_result(run, outcome, machine, message)
            opened.trainer.finish(run)
            claim.close()
            progress.on_end(run, outcome.status)


def train_one(
    path: Path, results: Path, device: str, arm: str, seed: int
) -> tuple[Outcome, dict[str, Any], str | None]:
    """Train one run where Ray says; return its outcome, the machine, and what it failed with."""
    opened = Opened.of(path, results, device)
    (found,) = [one for one in opened.arms() if one.name == arm]
    opened.checkpoints.mkdir(exist_ok=True)
    try:
        outcome = opened.trainer.train(Run(opened.study, found, seed))
    except ComposerError as failure:
        return Outcome(status="failed"), opened.machine, failure.diagnostics[0].message
    return outcome, opened.machine, None
