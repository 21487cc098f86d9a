"""Confidence intervals of differences, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from m3ray.study.statistics import PairedDifference, bootstrap_spearman, paired_difference, percentile_interval


def test_paired_differences_equal_scipy_s():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 6))
    found = paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_run_has_no_interval():
    found = paired_difference(np.array([0.5]), np.array([0.4]))
    assert (found.low, found.high) == (None, None)
    assert not found.excludes_zero


def test_the_bootstrap_equals_drawing_clips_and_ranking_anew():
    """Reference: SciPy's spearmanr on the drawn clips themselves, ties and all."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 12, 40) / 12
    runs = np.stack([truth + 0.3 * rng.standard_normal(40), np.round(rng.random(40), 1)])
    counts = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), 30)
    expected = []
    for count in counts:
        drawn = np.repeat(np.arange(40), count)
        expected.append(np.mean([stats.spearmanr(run[drawn], truth[drawn]).statistic for run in runs]))
    np.testing.assert_allclose(bootstrap_spearman(runs, truth, seed=5, resamples=30), expected, atol=1e-12)


def test_an_interval_of_undefined_resamples_is_none():
    assert percentile_interval(np.full(10, np.nan)) == (None, None)
    low, high = percentile_interval(np.linspace(0, 1, 1001))
    assert (low, high) == pytest.approx((0.025, 0.975))


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.1, False), (0.0, 0.2, False)]
)
def test_an_interval_that_touches_zero_does_not_exclude_it(low, high, excludes):
    assert PairedDifference((low + high) / 2, low, high).excludes_zero is excludes


def test_one_seed_draws_the_same_clips_for_all_variants():
    rng = np.random.default_rng(0)
    truth, runs = rng.random(30), rng.random((2, 30))
    np.testing.assert_array_equal(bootstrap_spearman(runs, truth), bootstrap_spearman(runs.copy(), truth))
    assert not np.array_equal(bootstrap_spearman(runs, truth), bootstrap_spearman(runs, truth, seed=1))
    np.testing.assert_allclose(bootstrap_spearman(truth[None] ** 3, truth), 1.0)
