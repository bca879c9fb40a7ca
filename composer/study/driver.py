"""A whole study: what there is to do, and all of it done, here or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from composer.errors import error
from composer.study.arms import PLAIN_ARM, Arm
from composer.study.claims import CAN_LOCK
from composer.study.extra import library
from composer.study.halving import went_on
from composer.study.on_ray import work_on_ray
from composer.study.opened import Opened
from composer.study.processes import work_in_processes
from composer.study.runs import Run, runs, screening
from composer.study.worker import Progress, work


@dataclass(frozen=True)
class Prepared:
    """The arms of a study that are possible, and why others are not.

    Attributes:
        arms: those that are trained.
        omitted: by the name of an arm, the reason.
    """

    arms: tuple[Arm, ...]
    omitted: dict[str, str]


def prepare(opened: Opened, on_arm: Callable[[Arm], None] = lambda _: None) -> Prepared:
    """Make or open the results, and note what each arm is and costs.

    Raises:
        ComposerError: the results are another study's, something changed since they were made, the
            data is not there, or a network cannot be made or does not fit the data.
        MissingPartError: Optuna is not installed, and the study halves.
    """
    if opened.study.halving is not None:
        library("optuna")  # before hours of training, and not after the first epoch
    opened.checkpoints.parent.mkdir(parents=True, exist_ok=True)
    opened.store.create(opened.study.name)
    opened.store.check_fingerprints(opened.fingerprints())
    opened.store.write_meta("test images", str(len(opened.data.test)))
    opened.store.write_meta("train images", str(len(opened.data.train)))
    opened.store.write_meta("classes", str(len(opened.data.classes)))
    known, possible, omitted = opened.store.facts(), [], {}
    checked = False
    for arm in opened.arms():
        on_arm(arm)
        facts = known.get(arm.name, {})
        if facts.get("key") != Run(opened.study, arm, -1).key:
            if not checked:
                opened.trainer.check(Run(opened.study, PLAIN_ARM, opened.study.seeds[0]))
                checked = True
            facts = opened.facts_of(arm)
            opened.store.write_facts(arm.name, facts)
        if "reason" in facts:
            omitted[arm.name] = facts["reason"]
        else:
            possible.append(arm)
    return Prepared(tuple(possible), omitted)


def remaining(opened: Opened, prepared: Prepared) -> tuple[list[Run], list[Run]]:
    """Return the runs that have not ended: those that screen arms, and those that are compared.

    Until all arms are screened, those that are compared are of every arm.
    """
    ended = opened.store.ended()
    screened = screening(opened.study, prepared.arms)
    stopped = {run.arm.name for run in screened if ended.get(run.key) not in (None, "done")}
    kept = [arm for arm in prepared.arms if arm.name not in stopped and arm.of not in stopped]
    compared = runs(opened.study, kept)
    return (
        [run for run in screened if run.key not in ended],
        [run for run in compared if run.key not in ended],
    )


def run_study(
    opened: Opened,
    prepared: Prepared,
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Do every run that has not ended, until all have or the budget is spent.

    Args:
        opened: the study.
        prepared: its arms.
        workers: how many runs at once on this machine, each in its own process; 1 is this one.
        ray: the address of a Ray cluster that does the runs instead.
        progress: what to call while runs go on.

    Raises:
        ComposerError: results or checkpoints cannot be written, or workers end again and again.
        MissingPartError: Ray is asked for and not installed.
    """
    if workers > 1 and not CAN_LOCK:
        raise error("study", "files cannot be locked on this system", "take --workers 1")
    if ray is not None:
        library("ray", "ray")
    opened.checkpoints.mkdir(exist_ok=True)
    screened, _ = remaining(opened, prepared)
    _do(opened, screened, workers, None, True, progress)
    if screening_is_over(opened, prepared):
        _, compared = remaining(opened, prepared)
        _do(opened, compared, workers, ray, False, progress)
    _tidy(opened, prepared)


def screening_is_over(opened: Opened, prepared: Prepared) -> bool:
    """Return whether every screened run has ended, as where there is none."""
    return not remaining(opened, prepared)[0]


def survivors(opened: Opened, arms: Sequence[Arm]) -> set[str]:
    """Return the names of the mechanisms that were not stopped by successive halving."""
    ended = opened.store.ended()
    screened = screening(opened.study, arms)
    if not screened:
        return {arm.name for arm in arms if arm.kind == "mechanism"}
    return went_on({run.arm.name: ended.get(run.key, "") for run in screened})


def _do(
    opened: Opened,
    todo: Sequence[Run],
    workers: int,
    ray: str | None,
    screens: bool,
    progress: Progress | None,
) -> None:
    if not todo:
        return
    if ray is not None:
        work_on_ray(opened, todo, ray, workers, progress or Progress())
    elif workers == 1:
        work(opened, todo, screens=screens, progress=progress)
    else:
        work_in_processes(opened, todo, workers, screens, progress or Progress())


def _tidy(opened: Opened, prepared: Prepared) -> None:
    """Remove the folder of checkpoints once every run has ended."""
    if any(remaining(opened, prepared)):
        return
    for path in opened.checkpoints.glob("*.lock"):
        path.unlink(missing_ok=True)
    if not any(opened.checkpoints.iterdir()):
        opened.checkpoints.rmdir()
