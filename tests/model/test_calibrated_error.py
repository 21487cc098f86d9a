"""The error after a recalibration that each clip had no part in."""

import numpy as np
import pytest

from m3ray.model.calibrated_error import are_distinct, calibrated_mse, predict_left_out


def make_runs(clips=40, slope=1.0, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.3, 0.9, clips)
    return slope * score + 0.1 * rng.standard_normal((3, clips)), score, rng.uniform(0.5, 5, clips)


@pytest.mark.parametrize("weighted", [False, True])
def test_each_clip_is_predicted_by_the_line_of_the_others(weighted):
    """Reference: numpy's least squares, fitted anew without each clip."""
    runs, score, weights = make_runs()
    found = predict_left_out(runs, score, weights if weighted else None)
    for row, run in enumerate(runs):
        for clip in range(len(score)):
            rest = np.arange(len(score)) != clip
            line = np.polyfit(run[rest], score[rest], 1, w=np.sqrt(weights[rest]) if weighted else None)
            assert found[row, clip] == pytest.approx(np.polyval(line, run[clip]), abs=1e-10)


def test_a_line_that_would_reverse_the_ranking_is_the_mean_of_the_others():
    runs, score, _ = make_runs(slope=-1.0)
    others = (score.sum() - score) / (len(score) - 1)
    np.testing.assert_allclose(predict_left_out(runs, score), np.tile(others, (3, 1)))
    np.testing.assert_allclose(calibrated_mse(runs, score), ((score - others) ** 2).mean())


def test_the_scale_of_predictions_does_not_matter():
    """A rank loss's 0.494 to 0.505 has the error of the same predictions on the scores' own scale."""
    runs, score, weights = make_runs()
    squeezed = 0.5 + 0.005 * runs
    assert ((squeezed - score) ** 2).mean() > 2 * calibrated_mse(runs, score).max()
    np.testing.assert_allclose(calibrated_mse(squeezed, score), calibrated_mse(runs, score), rtol=1e-8)
    np.testing.assert_allclose(
        calibrated_mse(squeezed, score, weights), calibrated_mse(runs, score, weights), rtol=1e-8
    )


def test_few_clips_give_no_gain_for_nothing():
    """Predictions that know nothing: the line fitted on the clips themselves seems better than the mean, this not.

    The expected errors: variance (1 - 2 / N) of the line on its own clips, about (1 + 2 / N) on others, where it is
    kept from falling less (drawn 4,000 times).
    """
    rng = np.random.default_rng(1)
    score = rng.standard_normal(8)
    runs = rng.standard_normal((4000, 8))
    variance = score.var()
    own = variance * (1 - np.array([np.corrcoef(run, score)[0, 1] for run in runs]) ** 2)
    assert own.mean() < 0.9 * variance
    assert calibrated_mse(runs, score).mean() > 1.1 * variance


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf])
def test_what_ranks_nothing_has_no_error(bad):
    runs, score, _ = make_runs()
    runs[1] = bad
    found = calibrated_mse(runs, score)
    assert np.isfinite(found[[0, 2]]).all()
    assert np.isnan(found[1])


def test_rounding_is_no_difference():
    runs, score, _ = make_runs()
    assert are_distinct(runs).all()
    assert not are_distinct(np.float32(0.5) + np.float32(1e-8) * runs.astype(np.float32)).any()
    assert np.isnan(calibrated_mse(0.5 + 1e-9 * runs, score)).all()


def test_one_clip_that_alone_differs_tells_nothing_about_itself():
    score = np.array([0.1, 0.2, 0.3, 0.9])
    found = predict_left_out(np.array([0.5, 0.5, 0.5, 0.6]), score)
    assert found[3] == pytest.approx(0.2), "the mean of the others"
