"""What a study would do: its arms, what they cost, how many runs are left, how long they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from composer.study.arms import PLAIN_ARM, Arm
from composer.study.opened import Opened
from composer.study.runs import Run, runs, screening
from composer.study.training import Timing


@dataclass(frozen=True)
class PlannedArm:
    """One arm.

    Attributes:
        arm: which.
        facts: what it costs; under ``reason`` why it is omitted.
        timing: of its steps, measured here; None where it is omitted.
        done: how many of its runs have ended.
        total: how many there are.
    """

    arm: Arm
    facts: Mapping[str, Any]
    timing: Timing | None
    done: int
    total: int

    def as_json(self, epochs: int) -> dict[str, Any]:
        """Return plain values; times are seconds."""
        return {
            "name": self.arm.name,
            **self.arm.as_json(),
            **{key: value for key, value in self.facts.items() if key != "key"},
            "seconds": None if self.timing is None else self.timing.run(epochs),
            "done": self.done,
            "total": self.total,
        }


@dataclass(frozen=True)
class Planned:
    """A whole study.

    Attributes:
        arms: all of them.
        seconds: what the runs that are left take, one after another.
        left: how many they are.
        screened: how many of them decide, on a seed of their own, which mechanisms go on.
    """

    arms: tuple[PlannedArm, ...]
    seconds: float
    left: int
    screened: int


def plan_study(opened: Opened, on_arm: Callable[[Arm], None] = lambda _: None) -> Planned:
    """Make each arm's network once, count it, and time some steps; nothing is written.

    Raises:
        ComposerError: the data is not there, or a network cannot be made or does not fit it.
    """
    study, store = opened.study, opened.store
    ended: set[str] = set()
    if store.path.exists():
        store.check(study.name)
        ended = set(store.ended())
    opened.trainer.check(Run(study, PLAIN_ARM, study.seeds[0]))
    found, seconds, left, screened = [], 0.0, 0, 0
    for arm in opened.arms():
        on_arm(arm)
        facts, timing = opened.facts_of(arm), None
        every = [*screening(study, [arm]), *runs(study, [arm])]
        done = sum(run.key in ended for run in every)
        if "reason" not in facts:
            timing = opened.trainer.timed(every[-1])
            seconds += (len(every) - done) * timing.run(study.training.epochs)
            left += len(every) - done
            screened += sum(run.key not in ended for run in screening(study, [arm]))
        found.append(PlannedArm(arm, facts, timing, done, len(every)))
    return Planned(tuple(found), seconds, left, screened)
