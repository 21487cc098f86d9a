"""The path of penalties, against scikit-learn's Ridge fitted fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from m3ray.training.regressors import ridge_path
from m3ray.training.regressors.base import TrainRows, UnfitError
from m3ray.training.regressors.ridge_path import Moments, choose_penalty, predict_path, solve_path, spread_penalties


def make_rows(clips: int = 60, columns: int = 8, *, weighed: bool = True) -> TrainRows:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(clips, columns)) + 3
    scores = 0.5 + 0.1 * x[:, 0] + 0.1 * rng.normal(size=clips)
    return TrainRows(x, scores, rng.random(clips) if weighed else np.ones(clips), np.arange(clips) % 5)


def sum_up(rows: TrainRows) -> Moments:
    return Moments.of(rows.features, rows.scores, rows.weights)


def fit_peer(rows: TrainRows, penalty: float) -> np.ndarray:
    """Predictions of each clip by scikit-learn's Ridge fitted on the other folds' clips."""
    found = np.empty(len(rows.scores))
    for fold in range(5):
        out = rows.folds == fold
        model = Ridge(penalty, solver="cholesky").fit(rows.features[~out], rows.scores[~out], rows.weights[~out])
        found[out] = model.predict(rows.features[out])
    return found


@pytest.mark.parametrize("columns", [1, 8, 60, 90])
@pytest.mark.parametrize("eigen_columns", [0, 1000])
def test_out_of_fold_predictions_are_scikit_learns(columns, eigen_columns, monkeypatch):
    monkeypatch.setattr(ridge_path, "EIGEN_COLUMNS", eigen_columns)
    rows = make_rows(columns=columns)
    penalties = np.array([0.01, 1.0, 100.0])
    found = predict_path(rows.features, rows, sum_up(rows), penalties)
    for column, penalty in zip(found.T, penalties, strict=True):
        np.testing.assert_allclose(column, fit_peer(rows, penalty), rtol=0, atol=1e-6)


def test_weights_are_scikit_learns():
    rows = make_rows()
    found = solve_path(sum_up(rows).center(), np.array([2.0]))[:, 0]
    np.testing.assert_allclose(found, Ridge(2.0).fit(rows.features, rows.scores, rows.weights).coef_, atol=1e-9)


def test_what_is_taken_away_is_not_in_the_moments():
    rows = make_rows()
    part = rows.folds == 0
    rest = sum_up(rows).without(Moments.of(rows.features[part], rows.scores[part], rows.weights[part])).center()
    mean = np.average(rows.features[~part], axis=0, weights=rows.weights[~part])
    centered = rows.features[~part] - mean
    np.testing.assert_allclose(rest.mean, mean)
    np.testing.assert_allclose(rest.gram, (centered * rows.weights[~part][:, None]).T @ centered, atol=1e-9)


def test_penalties_reach_from_nearly_none_to_nearly_the_mean():
    rows = make_rows(weighed=False)
    penalties = spread_penalties(sum_up(rows).center())
    x = rows.features - rows.features.mean(axis=0)
    least, most = (Ridge(p).fit(x, rows.scores).coef_ for p in penalties[[0, -1]])
    free = np.linalg.lstsq(x, rows.scores - rows.scores.mean(), rcond=None)[0]
    np.testing.assert_allclose(least, free, atol=1e-6)
    assert np.abs(most).max() < 0.03 * np.abs(free).max()


@pytest.mark.parametrize("eigen_columns", [0, 1000])
def test_the_penalty_with_the_least_error_is_chosen(eigen_columns, monkeypatch):
    monkeypatch.setattr(ridge_path, "EIGEN_COLUMNS", eigen_columns)
    rows = make_rows(columns=40)
    choice = choose_penalty(rows.features, rows, sum_up(rows))
    errors = {p: rows.score_error(fit_peer(rows, p)) for p in spread_penalties(sum_up(rows).center())}
    assert choice.error == pytest.approx(errors[choice.penalty])
    # Not every penalty is tried where each costs a factor.
    assert choice.error <= min(errors.values()) * (1.01 if eigen_columns == 0 else 1 + 1e-9)


def test_equations_that_cannot_be_solved_are_named(monkeypatch):
    monkeypatch.setattr(ridge_path, "EIGEN_COLUMNS", 0)
    moments = Moments(1.0, np.zeros(2), 0.0, -np.eye(2), np.zeros(2))
    with pytest.raises(UnfitError, match="could not be solved"):
        solve_path(moments, np.array([0.5]))


def test_columns_that_do_not_vary_have_no_path():
    rows = TrainRows(np.zeros((4, 2)), np.arange(4.0), np.ones(4), np.arange(4))
    with pytest.raises(UnfitError, match="no feature varies"):
        spread_penalties(sum_up(rows).center())
