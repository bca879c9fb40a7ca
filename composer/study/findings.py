"""What the results of a study show: each arm's accuracy, and its difference from each control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from composer.study.arms import Arm, arms
from composer.study.outcome import Epoch
from composer.study.runs import Run, screening
from composer.study.statistics import Difference, Method, compare, method_for
from composer.study.store import Result, Store
from composer.study.study_file import Study

Against = Literal["plain", "finetuned", "held", "matched", "paper"]


@dataclass(frozen=True)
class Row:
    """One arm.

    Attributes:
        arm: which.
        accuracies: by seed, of the runs that reached the last epoch.
        epochs: by seed, what was measured after each.
        facts: what it is and costs.
        seconds: the mean of a run.
        seeds: how many seeds the study has.
        notes: what is to be said, such as of runs that diverged.
    """

    arm: Arm
    accuracies: Mapping[int, float]
    epochs: Mapping[int, Sequence[Epoch]]
    facts: Mapping[str, Any]
    seconds: float | None
    seeds: int
    notes: tuple[str, ...]

    @property
    def mean(self) -> float | None:
        """The mean accuracy over seeds."""
        return float(np.mean(list(self.accuracies.values()))) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the accuracy over seeds."""
        values = list(self.accuracies.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """A mechanism beside one control, or its identity start beside its paper start."""

    arm: str
    against: Against
    other: str
    difference: Difference


@dataclass(frozen=True)
class Findings:
    """What a report says.

    Attributes:
        study: the study.
        rows: the arms that were trained.
        omitted: by the name of an arm that was not, the reason.
        comparisons: all that were made, and corrected for together.
        method: how their intervals were made; None where there are none.
        machines: what the runs ran on, and how many did there.
        meta: the numbers of images and classes.
        hours: that all runs took together.
        left: how many runs have not ended.
        others: how many results belong to another version of the study file.
    """

    study: Study
    rows: tuple[Row, ...]
    omitted: Mapping[str, str]
    comparisons: tuple[Comparison, ...]
    method: Method | None
    machines: tuple[tuple[Mapping[str, Any], int], ...]
    meta: Mapping[str, str]
    hours: float
    left: int
    others: int

    def of(self, arm: str, against: Against) -> Comparison | None:
        """Return the comparison of an arm with one control, or None."""
        found = (c for c in self.comparisons if (c.arm, c.against) == (arm, against))
        return next(found, None)


def findings(study: Study, store: Store) -> Findings:
    """Read what the results of a study show.

    Raises:
        ComposerError: they cannot be read, or are of another study.
        MissingPartError: SciPy is not installed.
    """
    store.check(study.name)
    results, noted, meta = store.results(), store.facts(), store.meta()
    facts = {
        arm.name: noted[arm.name]
        for arm in arms(study)
        if noted.get(arm.name, {}).get("key") == Run(study, arm, -1).key
    }
    omitted = {name: fact["reason"] for name, fact in facts.items() if "reason" in fact}
    trained = [arm for arm in arms(study) if arm.name not in omitted]
    screened = screening(study, trained)
    stopped = {
        run.arm.name: results[run.key]
        for run in screened
        if run.key in results and results[run.key].status != "done"
    }
    for name, result in stopped.items():
        omitted[name] = f"stopped after epoch {len(result.epochs)} by successive halving"
        if result.status != "stopped":
            omitted[name] = f"its screened run {result.status}"
    kept = [arm for arm in trained if arm.name not in stopped and arm.of not in stopped]
    wanted = {run.key for run in screened}
    rows = []
    for arm in kept:
        runs = [Run(study, arm, seed) for seed in study.seeds]
        wanted.update(run.key for run in runs)
        found = {run.seed: results[run.key] for run in runs if run.key in results}
        rows.append(_row(arm, found, facts.get(arm.name, {}), len(study.seeds)))
    pairs = _pairs({row.arm.name: row for row in rows})
    test_images = int(meta.get("test images", 0))
    values = [values for *_, values in pairs]
    differences = compare(values, 1 / test_images if test_images else 0.0)
    comparisons = tuple(
        Comparison(arm, against, other, difference)
        for (arm, against, other, _), difference in zip(pairs, differences, strict=True)
    )
    ours = [result for key, result in results.items() if key in wanted]
    return Findings(
        study, tuple(rows), omitted, comparisons,
        method_for([len(v) for v in values]) if values else None,
        _machines(ours), meta, sum(result.seconds for result in ours) / 3600,
        len(wanted) - len(ours), len(results) - len(ours),
    )  # fmt: skip


def _row(arm: Arm, found: Mapping[int, Result], facts: Mapping[str, Any], seeds: int) -> Row:
    done = {seed: one for seed, one in found.items() if one.status == "done"}
    notes = []
    for status in ("diverged", "failed"):
        if some := [seed for seed, one in found.items() if one.status == status]:
            of = "seed" if len(some) == 1 else "seeds"
            notes.append(f"{status} with {of} {', '.join(map(str, some))}")
    if message := next((one.message for one in found.values() if one.message), None):
        notes.append(message)
    if facts.get("wanted") is not None:
        notes.append(f"added {facts['reached']:,} to match {facts['wanted']:,}")
    seconds = [one.seconds for one in done.values()]
    return Row(
        arm,
        {seed: one.accuracy for seed, one in done.items() if one.accuracy is not None},
        {seed: one.epochs for seed, one in done.items()},
        facts,
        float(np.mean(seconds)) if seconds else None,
        seeds,
        tuple(notes),
    )


_Pair = tuple[str, Against, str, Any]
#: What a comparison of starts is called that is the mean over all mechanisms which have both.
ALL = "mean of all mechanisms"


def _pairs(rows: Mapping[str, Row]) -> list[_Pair]:
    """Return every comparison with its difference for each seed that both arms have."""
    found: list[_Pair] = []
    for row in rows.values():
        if row.arm.kind != "mechanism":
            continue
        for other in rows.values():
            kind = other.arm.kind
            shared = kind in ("plain", "finetuned")
            if shared or (kind in ("held", "matched") and other.arm.of == row.arm.name):
                _add(found, row, kind, other)  # type: ignore[arg-type]
        if row.arm.init == "identity":
            twin = replace(row.arm, init="paper", name="").as_json()
            for other in rows.values():
                if other.arm.kind == "mechanism" and other.arm.as_json() == twin:
                    _add(found, row, "paper", other)
    starts = [pair for pair in found if pair[1] == "paper"]
    if len(starts) > 1 and len({len(values) for *_, values in starts}) == 1:
        mean = np.mean([values for *_, values in starts], axis=0)
        found.append((f"{ALL}, identity", "paper", f"{ALL}, paper", mean))
    return found


def _add(found: list[_Pair], row: Row, against: Against, other: Row) -> None:
    seeds = [seed for seed in row.accuracies if seed in other.accuracies]
    if len(seeds) >= 2:
        values = np.array([row.accuracies[s] - other.accuracies[s] for s in sorted(seeds)])
        found.append((row.arm.name, against, other.arm.name, values))


def _machines(results: Sequence[Result]) -> tuple[tuple[Mapping[str, Any], int], ...]:
    """Return the machines without their dates, each with how many runs it did."""
    seen: dict[str, Mapping[str, Any]] = {}
    counts: Counter[str] = Counter()
    for result in results:
        machine = {key: value for key, value in result.machine.items() if key != "date"}
        word = repr(sorted(machine.items()))
        seen.setdefault(word, machine)
        counts[word] += 1
    return tuple((seen[word], count) for word, count in counts.items())
