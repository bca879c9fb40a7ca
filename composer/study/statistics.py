"""Paired differences between arms, with an interval, corrected for their number.

The runs of one seed are paired: same images, same order, same backbone at the start. So what is
compared is the difference for each seed, and its mean over the seeds.

With few seeds the bootstrap is too sure of itself: five differences have 126 distinct resamples,
and its intervals at 95 % miss the truth in some 15 % of studies. So below `BOOTSTRAP_FROM` seeds
the interval is Student's, with Holm's correction; from there on it is the studentised bootstrap
with the maximum over all comparisons (max-T), which resamples the seeds of all arms together. Both
keep the probability of any false difference in a report at 5 %; tests/test_study_statistics.py
simulates it.

Sources: Holm 1979, "A simple sequentially rejective multiple test procedure"; Westfall and Young
1993, "Resampling-based multiple testing" (max-T); Efron and Tibshirani 1993, chapter 12.5
(bootstrap-t).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from composer.study.extra import library

LEVEL = 0.05  # the probability of any false difference among all comparisons of a report
BOOTSTRAP_FROM = 12  # seeds
RESAMPLES = 4999
Verdict = Literal["higher", "lower", "none"]
Method = Literal["student-holm", "bootstrap-max-t"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its interval.

    Attributes:
        seeds: over how many.
        mean: of the differences.
        low: where the interval begins, corrected for the number of comparisons.
        high: where it ends.
        verdict: whether the interval lies above zero, below it, or holds it.
    """

    seeds: int
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Return what can be said; ``none`` where no difference can be seen."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "none"


def method_for(seeds: Sequence[int]) -> Method:
    """Return the method for comparisons over so many seeds each."""
    alike = len(set(seeds)) == 1
    return "bootstrap-max-t" if alike and seeds[0] >= BOOTSTRAP_FROM else "student-holm"


def compare(differences: Sequence[Array], resolution: float = 0.0) -> list[Difference]:
    """Return the mean differences of all comparisons of a report, with intervals.

    Args:
        differences: of each comparison, one difference for each seed (2 at least); where all have
            as many seeds, these are in one order.
        resolution: the least step of the values, such as one image of those tested on. Equal
            differences over few seeds are a coincidence of rounding, and no proof: the deviation
            is taken to be what rounding alone gives, at least.

    Raises:
        MissingPartError: SciPy is not installed.
        ValueError: a comparison has one seed alone.
    """
    if not differences:
        return []
    if any(len(values) < 2 for values in differences):
        raise ValueError("a difference needs two seeds at least")
    counts = [len(values) for values in differences]
    means = np.array([values.mean() for values in differences])
    errors = np.array([_error(values, resolution) for values in differences])
    if method_for(counts) == "bootstrap-max-t":
        width = _largest_t(np.stack(differences), resolution) * errors
    else:
        width = _holm_quantiles(means, errors, counts) * errors
    return [
        Difference(count, float(mean), float(mean - half), float(mean + half))
        for count, mean, half in zip(counts, means, width, strict=True)
    ]


def _error(values: Array, resolution: float) -> float:
    """Return the standard error of the mean; rounding of both values gives some at least."""
    deviation = max(float(values.std(ddof=1)), resolution / np.sqrt(6))
    return float(deviation / np.sqrt(len(values)))


def _holm_quantiles(means: Array, errors: Array, counts: Sequence[int]) -> Array:
    """Return for each comparison the quantile of Student's t at the level that Holm gives it.

    The k-th smallest p-value of m is compared with LEVEL / (m - k + 1), until one is larger; those
    after it are compared at that level, so that interval and verdict always agree.
    """
    t: Any = library("scipy.stats").t
    degrees = np.array(counts) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(errors > 0, np.abs(means) / errors, np.where(means == 0, 0, np.inf))
    p = 2 * t.sf(statistic, degrees)
    levels = np.empty(len(p))
    level, stopped = LEVEL / len(p), False
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        if not stopped:
            level = LEVEL / (len(p) - rank)
        stopped = stopped or p[index] > level
        levels[index] = level
    found: Array = t.isf(levels / 2, degrees)
    return found


def _largest_t(values: Array, resolution: float) -> float:
    """Return the quantile of the largest |t| over all comparisons, when no mean differs.

    Args:
        values: [comparisons, seeds].
        resolution: as in `compare`.
    """
    count = values.shape[1]
    drawn = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    centred = values - values.mean(1, keepdims=True)
    largest = np.zeros(RESAMPLES)
    for row in centred:
        if not row.any():
            continue
        sample = row[drawn]
        least = max(resolution / np.sqrt(6), float(row.std(ddof=1)) * 1e-3)
        deviation = np.maximum(sample.std(1, ddof=1), least)
        largest = np.maximum(largest, np.abs(sample.mean(1)) / deviation * np.sqrt(count))
    return float(np.quantile(largest, 1 - LEVEL))
