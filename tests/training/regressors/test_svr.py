"""Support vector regression of the study's matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import SVR

from m3ray.model.regressors import KernelModel
from m3ray.training.regressors import svr
from m3ray.training.regressors.base import TrainRows, UnfitError
from m3ray.training.regressors.svr import fit_svr


def make_rows(clips: int = 120, seed: int = 0, *, weighed: bool = False) -> TrainRows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(clips, 4)).astype(np.float32)
    scores = 0.75 + 0.08 * np.sin(2 * x[:, 0]) + 0.04 * x[:, 1] ** 2 + 0.03 * rng.normal(size=clips)
    weights = rng.random(clips) * (rng.random(clips) < 0.9) if weighed else np.ones(clips)
    return TrainRows(x, scores, weights, np.arange(clips) % 5)


@pytest.mark.parametrize("weighed", [False, True])
def test_the_model_is_scikit_learns_with_the_chosen_settings(weighed):
    rows = make_rows(weighed=weighed)
    fit = fit_svr(rows)
    assert isinstance(fit.model, KernelModel)
    z = (rows.features - fit.model.mean) @ fit.model.axes
    mean = np.average(rows.scores, weights=rows.weights)
    deviation = np.sqrt(np.average((rows.scores - mean) ** 2, weights=rows.weights))
    peer = SVR(gamma=fit.chosen["gamma"], C=fit.chosen["c"], epsilon=fit.chosen["epsilon"])
    peer.fit(z, (rows.scores - mean) / deviation, rows.weights)
    # Each stops within libsvm's tolerance of 0.001 deviations, from kernels that are rounded unlike.
    np.testing.assert_allclose(
        fit.model(rows.features), peer.predict(z) * deviation + mean, rtol=0, atol=2e-3 * deviation
    )


def test_out_of_fold_predictions_do_not_know_the_clip():
    rows = make_rows()
    fit = fit_svr(rows)
    error = rows.score_error(fit.out_of_fold)
    assert 0.03**2 < error < 0.7 * rows.scores.var()
    assert rows.score_error(fit.model(rows.features)) < error


def test_beats_a_line_where_no_line_fits():
    new = make_rows(400, seed=1)
    fit = fit_svr(make_rows(400))
    line = np.polynomial.Polynomial.fit(new.features[:, 0], new.scores, 1)(new.features[:, 0])
    assert new.score_error(fit.model(new.features)) < 0.6 * new.score_error(line)


def test_very_many_clips_are_fitted_on_landmarks(monkeypatch):
    monkeypatch.setattr(svr, "MOST_EXACT", 100)
    monkeypatch.setattr(svr, "_LANDMARKS", 50)
    rows = make_rows(400)
    fit = fit_svr(rows)
    assert isinstance(fit.model, KernelModel)
    assert fit.chosen["landmarks"] == len(fit.model.vectors) == 50
    assert rows.score_error(fit.out_of_fold) < 0.7 * rows.scores.var()


def test_settings_are_chosen_on_some_of_the_clips(monkeypatch):
    monkeypatch.setattr(svr, "_SEARCH_CLIPS", 60)
    rows = make_rows(200)
    fit = fit_svr(rows)
    assert rows.score_error(fit.out_of_fold) < 0.7 * rows.scores.var()


def test_one_core_gives_what_two_give():
    one, two = (fit_svr(replace(make_rows(), cores=cores)) for cores in (1, 2))
    np.testing.assert_array_equal(one.out_of_fold, two.out_of_fold)


def test_equal_scores_cannot_be_fitted():
    rows = TrainRows(np.eye(4, dtype=np.float32), np.full(4, 0.5), np.ones(4), np.arange(4))
    with pytest.raises(UnfitError, match="all train scores are equal"):
        fit_svr(rows)
