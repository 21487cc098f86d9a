"""Ridge regression of the study's matrix."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from m3ray.training.regressors.base import TrainRows
from m3ray.training.regressors.ridge import fit_ridge, measure_deviation


def make_rows(clips: int, columns: int, spread: float = 1.0) -> TrainRows:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(clips, columns)) * np.linspace(1, spread, columns) + 2).astype(np.float32)
    scores = 0.5 + 0.1 * x[:, 0] + 0.1 * rng.normal(size=clips)
    return TrainRows(x, scores, rng.random(clips) + 0.1, np.arange(clips) % 5)


@pytest.mark.parametrize(("clips", "columns"), [(60, 5), (30, 80)])
@pytest.mark.parametrize("spread", [1.0, 50.0])
def test_the_model_is_scikit_learns_with_the_chosen_penalty(clips, columns, spread):
    rows = make_rows(clips, columns, spread)
    fit = fit_ridge(rows)
    x = rows.features.astype(np.float64)
    deviation = np.sqrt(np.average((x - np.average(x, 0, rows.weights)) ** 2, 0, rows.weights))
    scale = deviation if fit.chosen["scaling"] == "standardised" else 1.0
    peer = Ridge(fit.chosen["penalty"]).fit(x / scale, rows.scores, rows.weights)
    np.testing.assert_allclose(fit.model(rows.features), peer.predict(x / scale), rtol=0, atol=1e-6)


def test_columns_of_unlike_units_are_standardised():
    # The one column that matters varies a thousand times less than the others.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 40)).astype(np.float32) * np.where(np.arange(40) == 0, 1e-3, 1.0).astype(np.float32)
    rows = TrainRows(x, 0.5 + 100 * x[:, 0].astype(float), np.ones(60), np.arange(60) % 5)
    assert fit_ridge(rows).chosen["scaling"] == "standardised"


def test_is_no_worse_than_scikit_learns_own_choice():
    rows, new = make_rows(200, 60), make_rows(400, 60)
    fit = fit_ridge(rows)
    peer = RidgeCV(np.logspace(-3, 4, 30)).fit(rows.features, rows.scores, rows.weights)
    errors = [np.mean((m - new.scores) ** 2) for m in (fit.model(new.features), peer.predict(new.features))]
    assert errors[0] < 1.02 * errors[1]


def test_a_constant_column_has_a_deviation_of_one():
    x = np.array([[1.0, 5], [3, 5]])
    mean = x.mean(axis=0)
    assert measure_deviation(x - mean, mean, np.ones(2)).tolist() == [1, 1]
    assert measure_deviation(3 * (x - mean), mean, np.ones(2)).tolist() == [3, 1]
