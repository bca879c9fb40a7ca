"""The intervals of a report: what they are worth on synthetic results, by simulation.

A study has ten arms and two controls of each. Where nothing differs, the share of studies that
report any difference is at most 5 %; a known effect is found, in the right direction.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from composer.study.statistics import BOOTSTRAP_FROM, LEVEL, compare, method_for

ARMS = 10
NOISE = {
    "normal": lambda drawn, shape: drawn.normal(0, 1, shape),
    "heavy tails": lambda drawn, shape: drawn.standard_t(3, shape),
    "skewed": lambda drawn, shape: drawn.gamma(2, 1, shape),
    "of 200 test images": lambda drawn, shape: drawn.binomial(200, 0.9, shape) / 200,
}


def studies(noise, seeds, count, effect=0.0, scale=1.0):
    """Yield the differences of each study: every arm less two controls that all arms share."""
    drawn = np.random.default_rng(seeds)
    for _ in range(count):
        arms = scale * NOISE[noise](drawn, (ARMS, seeds))
        arms[0] += effect
        controls = scale * NOISE[noise](drawn, (2, seeds))
        yield [arm - control for control in controls for arm in arms]


def false_share(noise, seeds, count):
    step = 1 / 200 if noise == "of 200 test images" else 0.0
    found = [
        any(d.verdict != "none" for d in compare(differences, step))
        for differences in studies(noise, seeds, count)
    ]
    return float(np.mean(found))


def most(count):
    """Return how large a share may be by chance, where the truth is 5 %: one time in a thousand."""
    return stats.binom.ppf(0.999, count, LEVEL) / count


@pytest.mark.quick(2)
@pytest.mark.parametrize("noise", ["normal", "of 200 test images", "heavy tails", "skewed"])
def test_where_nothing_differs_few_studies_say_so(noise):
    """A thousand studies of five seeds."""
    assert false_share(noise, 5, 1000) <= LEVEL


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("seeds", [2, 3, 8, 12, 20])
def test_nor_with_other_numbers_of_seeds(noise, seeds):
    count = 1000 if seeds < BOOTSTRAP_FROM else 400
    assert false_share(noise, seeds, count) <= most(count)


@pytest.mark.parametrize(("seeds", "effect", "power"), [(5, 12.0, 0.9), (12, 3.0, 0.9)])
def test_a_known_effect_is_found(seeds, effect, power):
    """Of the arm that has it, against both controls, and as higher."""
    count = 200 if seeds < BOOTSTRAP_FROM else 20
    found, wrong = [], 0
    for differences in studies("normal", seeds, count, effect):
        verdicts = [d.verdict for d in compare(differences)]
        found.append(verdicts[0] == verdicts[ARMS] == "higher")
        wrong += verdicts[0] == "lower"
    assert np.mean(found) >= power
    assert wrong == 0


def test_an_uncorrected_or_a_plain_bootstrap_report_would_lie():
    """The simulation sees it: it can fail."""
    lies = {"uncorrected": 0, "bootstrap": 0}
    drawn = np.random.default_rng(1).integers(0, 5, (400, 5))
    alone = 0
    for differences in studies("normal", 5, 150):
        values = np.stack(differences)
        lies["uncorrected"] += (stats.ttest_1samp(values, 0, axis=1).pvalue < LEVEL).any()
        means = values[:, drawn].mean(2)
        low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2], axis=1)
        misses = (low > 0) | (high < 0)
        lies["bootstrap"] += misses.any()
        alone += misses[0]
    assert lies["uncorrected"] / 150 > 0.3
    assert lies["bootstrap"] / 150 > 0.5
    assert 0.1 < alone / 150 < 0.25  # of one comparison: docs/study.md says one study of six


def test_one_comparison_is_student_s_interval():
    values = np.array([0.01, 0.03, 0.02, 0.05, -0.01])
    (found,) = compare([values])
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(0.02)
    assert found.seeds == 5


def test_holm_agrees_with_statsmodels_rule_by_hand():
    """p = 0.001, 0.02, 0.03: 0.05 / 3 and 0.05 / 2 are passed by the first alone."""

    def of(p):
        t = stats.t.isf(p / 2, 4)
        base = np.array([-2.0, -1, 0, 1, 2])
        return base / base.std(ddof=1) * np.sqrt(5) + t

    assert [d.verdict for d in compare([of(0.03), of(0.001), of(0.026)])] == [
        "none", "higher", "none"]  # fmt: skip
    assert [d.verdict for d in compare([of(0.03), of(0.001), of(0.024)])] == [
        "higher", "higher", "higher"]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "resolution", "verdict"),
    [
        ([0.0, 0.0, 0.0], 0.0, "none"),
        ([0.01, 0.01, 0.01], 0.01, "none"),  # one image more each time, over three seeds
        ([0.2, 0.2, 0.2], 0.01, "higher"),
        ([-0.2, -0.2, -0.2], 0.01, "lower"),
    ],
)
def test_equal_differences(values, resolution, verdict):
    (found,) = compare([np.array(values)], resolution)
    assert found.verdict == verdict


def test_the_method_depends_on_the_seeds():
    assert method_for([5, 5]) == "student-holm"
    assert method_for([12, 12]) == "bootstrap-max-t"
    assert (
        method_for([12, 11]) == "student-holm"
    )  # not the same seeds: nothing to resample together
    assert compare([]) == []
    with pytest.raises(ValueError, match="two seeds"):
        compare([np.array([1.0])])
