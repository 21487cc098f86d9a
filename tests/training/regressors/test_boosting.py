"""Boosted trees of the study's matrix, against scikit-learn's own predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from m3ray.model.regressors import Trees
from m3ray.training.regressors import boosting
from m3ray.training.regressors.base import TrainRows, UnfitError
from m3ray.training.regressors.boosting import fit_boosting, flatten_trees


def make_rows(clips: int = 150, columns: int = 4, seed: int = 0) -> TrainRows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(clips, columns)).astype(np.float32)
    scores = 0.7 + 0.1 * (x[:, 0] > 0) * (x[:, 1] > 0) + 0.03 * rng.normal(size=clips)
    return TrainRows(x, scores, np.ones(clips), np.arange(clips) % 5)


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("columns", [1, 4])
def test_flat_trees_predict_what_scikit_learn_predicts(decimals, columns):
    rows = make_rows(600, columns + 1)
    x = rows.features[:, :columns].round(decimals)  # thresholds lie between rounded values, and at them
    peer = HistGradientBoostingRegressor(max_iter=40).fit(x, rows.scores)
    for values in (x, x.astype(np.float64), np.float32([[-1e30] * columns, [1e30] * columns])):
        np.testing.assert_allclose(flatten_trees(peer, columns)(values), peer.predict(values), rtol=0, atol=1e-6)


def test_what_lies_at_a_threshold_goes_where_scikit_learn_sends_it():
    rows = make_rows(600)
    peer = HistGradientBoostingRegressor(max_iter=40).fit(rows.features, rows.scores)
    flat = flatten_trees(peer, 4)
    at = np.zeros((len(flat.feature), 4))
    splits = np.flatnonzero(flat.feature >= 0)
    at[splits, flat.feature[splits]] = flat.threshold[splits]
    np.testing.assert_allclose(flat(at), peer.predict(at), rtol=0, atol=1e-6)


def test_learns_an_interaction_and_knows_its_error():
    rows, new = make_rows(400), make_rows(400, seed=1)
    fit = fit_boosting(rows)
    error = new.score_error(fit.model(new.features))
    assert error < 0.5 * new.scores.var()
    assert rows.score_error(fit.out_of_fold) == pytest.approx(error, rel=0.25)
    assert fit.chosen["components"] is False


def test_wide_matrices_are_split_on_components_and_the_best_columns(monkeypatch):
    monkeypatch.setattr(boosting, "FEW_COLUMNS", 10)
    monkeypatch.setattr(boosting, "_BEST_COLUMNS", 3)
    rows, new = make_rows(400, 20), make_rows(400, 20, seed=1)
    fit = fit_boosting(rows)
    assert fit.chosen["components"] is True
    assert isinstance(fit.model, Trees)
    assert fit.model.axes is not None
    assert fit.model.axes.shape == (20, 20 + 3)
    assert new.score_error(fit.model(new.features)) < 0.7 * new.scores.var()


def test_columns_are_chosen_without_the_fold(monkeypatch):
    # Noise alone: columns that were chosen with the fold's own scores would predict them.
    monkeypatch.setattr(boosting, "FEW_COLUMNS", 10)
    rng = np.random.default_rng(0)
    x, scores = rng.normal(size=(100, 500)).astype(np.float32), rng.random(100)
    rows = TrainRows(x, scores, np.ones(100), np.arange(100) % 5)
    assert rows.score_error(fit_boosting(rows).out_of_fold) > 0.9 * scores.var()


def test_weighted_clips_count():
    rows = make_rows(200)
    scores = np.where(np.arange(200) % 2, rows.scores, rows.scores + 0.2)
    weights = np.where(np.arange(200) % 2, 1.999, 0.001)
    found = fit_boosting(TrainRows(rows.features, scores, weights, rows.folds)).model(rows.features)
    assert abs(found.mean() - rows.scores.mean()) < 0.02


def test_few_clips_cannot_be_split():
    with pytest.raises(UnfitError, match="trees need 10 clips outside each fold, got 8"):
        fit_boosting(make_rows(10))
