"""Bandwidths of kernel densities, found by cross-validation."""

import numpy as np
import pytest
from planted_clusters import planted_clusters
from read_only import read_only, torch_warns_of_nothing
from scipy.integrate import quad
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neighbors import KernelDensity

from m3ray.similarity import bandwidth
from m3ray.similarity.bandwidth import (
    BANDWIDTHS,
    draw_folds,
    held_out_likelihoods,
    log_volume,
    search_bandwidth,
    unit_bandwidth,
)


@pytest.mark.parametrize("count", [2, 3, 50, 61])
def test_the_bandwidth_is_that_of_scikit_learn_s_search_over_the_same_folds(count):
    rows = np.random.default_rng(0).standard_normal((count, 2))
    folds = draw_folds(rows, seed=3)[1]
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=PredefinedSplit(folds)).fit(rows)
    assert search_bandwidth(rows, seed=3) == pytest.approx(search.best_params_["bandwidth"])


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
def test_held_out_likelihoods_are_scikit_learn_s(kernel):
    rows = np.random.default_rng(1).standard_normal((40, 3))
    folds = np.arange(40) % 4
    tried = np.array([0.4, 1.5, 6.0])
    missed, found = held_out_likelihoods(rows, folds, tried, kernel)
    for h, misses, likelihood in zip(tried, missed, found, strict=True):
        scores = np.concatenate(
            [
                KernelDensity(bandwidth=h, kernel=kernel).fit(rows[folds != k]).score_samples(rows[folds == k])
                for k in range(4)
            ]
        )
        assert misses == np.isneginf(scores).sum()
        assert likelihood == pytest.approx(scores[np.isfinite(scores)].sum(), rel=1e-5)


def test_the_order_of_the_clips_decides_nothing():
    """Folds were consecutive rows up to 1,500: clips sorted by label then lay in folds of labels that no other had."""
    rows, cluster, _ = planted_clusters()
    rng = np.random.default_rng(0)
    kept = np.sort(rng.choice(2000, 1000, replace=False))
    assert (np.diff(cluster[kept]) >= 0).all(), "sorted by label"
    shuffled = rng.permutation(kept)
    sorted_one, shuffled_one = (search_bandwidth(rows[k], seed=0) for k in (kept, shuffled))
    assert sorted_one == pytest.approx(shuffled_one), "deviations are 1 in each cluster, whose centres are 17 apart"
    assert sorted_one < 1


def test_folds_are_drawn_evenly_from_at_most_1500_rows():
    rows, folds = draw_folds(np.arange(23.0)[:, None], seed=0)
    assert rows.ravel().tolist() == list(range(23))
    assert sorted(np.bincount(folds)) == [4, 4, 5, 5, 5]
    assert (np.diff(folds) != 0).any()
    rows, folds = draw_folds(np.arange(4000.0)[:, None], seed=0)
    assert len(np.unique(rows)) == 1500
    assert np.bincount(folds).tolist() == [300] * 5
    assert draw_folds(np.zeros((3, 1)), seed=0)[1].max() == 2, "no more folds than rows"


def test_a_search_draws_from_many_rows_with_its_seed(monkeypatch):
    monkeypatch.setattr(bandwidth, "_SEARCH_ROWS", 40)
    rows = np.random.default_rng(1).standard_normal((400, 2))
    assert search_bandwidth(rows, seed=3) == search_bandwidth(rows, seed=3)


def test_epanechnikov_s_bandwidth_reaches_first_and_is_likely_second():
    """Of widths that leave no clip without a kernel, the most likely one; a clip 3 away from all needs more than 3."""
    rows = np.concatenate([np.random.default_rng(0).uniform(0, 1, (60, 1)), [[4.0]]])
    chosen = search_bandwidth(rows, seed=0, kernel="epanechnikov")
    tried = BANDWIDTHS * unit_bandwidth("epanechnikov", 1)
    assert chosen == pytest.approx(tried[tried > 4 - rows[:60].max()].min(), rel=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "epanechnikov"])
def test_volumes_and_deviations_in_one_dimension_are_integrals(kernel):
    """Reference: SciPy's quadrature of the kernel and of its second moment."""
    shape = {"gaussian": lambda u: np.exp(-u * u / 2), "epanechnikov": lambda u: max(0.0, 1 - u * u)}[kernel]
    h = 0.7
    volume = quad(lambda x: shape(x / h), -8, 8, points=[-h, 0, h])[0]
    assert log_volume(kernel, h, 1) == pytest.approx(np.log(volume), rel=1e-7)
    unit = unit_bandwidth(kernel, 1)
    second = quad(lambda x: x * x * shape(x / unit), -9, 9, points=[-unit, 0, unit])[0]
    assert second / np.exp(log_volume(kernel, unit, 1)) == pytest.approx(1, rel=1e-6)


def test_huge_and_tiny_rows_have_a_bandwidth():
    rows = np.random.default_rng(0).standard_normal((30, 4))
    for size in (1e-39, 1e30, 1e39):
        assert search_bandwidth(rows * size, seed=0) in BANDWIDTHS


def test_rows_that_nobody_may_write_to_are_read_without_a_warning():
    rows = np.random.default_rng(0).standard_normal((20, 2))
    folds = draw_folds(rows, seed=3)[1]
    with torch_warns_of_nothing():
        found = held_out_likelihoods(read_only(rows), read_only(folds), BANDWIDTHS)
    np.testing.assert_array_equal(found, held_out_likelihoods(rows, folds, BANDWIDTHS))
