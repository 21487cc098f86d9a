"""Influence of clips on a metric, against differentiation, the delete-one jackknife and the bootstrap."""

import numpy as np
import pytest
from scipy import stats

from m3ray.model import metrics
from m3ray.study.influence import INFLUENCES, mse_influence, share_weights, spearman_influence


def make(clips=80, *, ties=False, runs=2):
    rng = np.random.default_rng(3)
    truth = rng.random(clips)
    runs = truth + 0.4 * rng.standard_normal((runs, clips))
    return (np.round(runs, 1), np.round(truth, 1)) if ties else (runs, truth)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ["spearman", "mse"])
def test_values_are_the_metrics(name, ties):
    """Reference: m3ray.model.metrics, which are held against SciPy."""
    runs, truth = make(ties=ties)
    weights = np.random.default_rng(0).random(len(truth))
    for given in (None, weights):
        values, _ = INFLUENCES[name](runs, truth, share_weights(len(truth), given))
        np.testing.assert_allclose(values, metrics.METRICS[name](runs, truth, given), rtol=1e-10)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ["spearman", "mse"])
def test_influence_is_the_derivative_along_a_clip(name, ties):
    """Reference: the metric itself with one clip's share made larger by 1e-6, the others' smaller."""
    runs, truth = make(ties=ties)
    shares = share_weights(len(truth), np.random.default_rng(1).random(len(truth)) + 0.2)
    values, influence = INFLUENCES[name](runs, truth, shares)
    np.testing.assert_allclose(influence @ shares, 0, atol=1e-12)
    for clip in (0, 7, 40):
        moved = (1 - 1e-6) * shares + 1e-6 * (np.arange(len(truth)) == clip)
        slope = (INFLUENCES[name](runs, truth, moved)[0] - values) / 1e-6
        np.testing.assert_allclose(influence[:, clip], slope, rtol=1e-3, atol=1e-4)


def test_influence_is_that_of_leaving_a_clip_out():
    """Reference: the delete-one jackknife with SciPy's spearmanr; both differ by terms of 1 / V."""
    runs, truth = make(300, runs=1)
    _, influence = spearman_influence(runs, truth, share_weights(300, None))
    whole = stats.spearmanr(runs[0], truth).statistic
    left_out = [stats.spearmanr(np.delete(runs[0], k), np.delete(truth, k)).statistic for k in range(300)]
    pseudo = 299 * (whole - np.array(left_out))
    assert np.corrcoef(pseudo, influence[0])[0, 1] > 0.9999
    assert influence.std() == pytest.approx(pseudo.std(), rel=0.01)


def test_the_variance_over_clips_is_the_bootstrap_s():
    """Reference: SciPy's spearmanr on 2,000 draws of the clips; their variance is known to 3 %."""
    runs, truth = make(400, runs=1)
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, 400, (2000, 400))
    resampled = [stats.spearmanr(runs[0][clips], truth[clips]).statistic for clips in drawn]
    _, influence = spearman_influence(runs, truth, share_weights(400, None))
    assert influence.std() / 20 == pytest.approx(np.std(resampled), rel=0.06)


def test_whole_weights_are_repetitions_of_clips():
    """Reference: SciPy's spearmanr on the repeated clips."""
    runs, truth = make(50)
    weights = np.random.default_rng(2).integers(0, 4, 50)
    values, _ = spearman_influence(runs, truth, share_weights(50, weights))
    expected = [stats.spearmanr(np.repeat(run, weights), np.repeat(truth, weights)).statistic for run in runs]
    np.testing.assert_allclose(values, expected, rtol=1e-10)


def test_a_constant_or_diverged_run_is_undefined():
    runs, truth = make()
    runs[0] = 0.5
    runs[1, 3] = np.nan
    shares = share_weights(len(truth), None)
    values, influence = spearman_influence(runs, truth, shares)
    assert np.isnan(values).all()
    assert np.isnan(influence).all()
    errors, _ = mse_influence(runs, truth, shares)
    assert np.isfinite(errors[0])
    assert np.isnan(errors[1])
