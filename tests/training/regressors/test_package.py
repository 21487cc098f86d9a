"""Every regressor, by its name: what it promises on ordinary and on odd data."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from m3ray.errors import ConfigError, FeatureError, ShapeError
from m3ray.training import regressors
from m3ray.training.out_of_fold import cut_folds
from m3ray.training.regressors import REGRESSORS, FittedRegressor, boosting, fit_regressor
from m3ray.training.regressors.base import TrainRows
from m3ray.training.regressors.svr import fit_svr


def make_table(clips: int = 80, columns: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(clips, columns)).astype(np.float32)
    return x, 0.7 + 0.1 * x[:, 0] + 0.05 * rng.normal(size=clips), np.arange(clips) % 5


@pytest.fixture(autouse=True)
def fit_few_trees(monkeypatch):
    monkeypatch.setattr(boosting, "_MOST_TREES", 60)
    monkeypatch.setattr(regressors, "MOST_NESTED", 0)  # as of many clips, which takes a sixth of the time


def fit(name: str, x: np.ndarray, y: np.ndarray, folds: np.ndarray, **options) -> FittedRegressor:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a library's warnings are not shown to users
        fitted = fit_regressor(name, x, y, folds, **options)
    assert fitted.out_of_fold.shape == y.shape
    assert np.isfinite(fitted.out_of_fold).all()
    assert np.isfinite(fitted.model(x)).all()
    assert fitted.model.parameters >= 1
    json.dumps(fitted.chosen)
    return fitted


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_same_seed_gives_the_same_model(name):
    one, two = (fit(name, *make_table(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.out_of_fold, two.out_of_fold)
    np.testing.assert_array_equal(one.model(make_table()[0]), two.model(make_table()[0]))
    assert one.chosen == two.chosen


@pytest.mark.parametrize("name", sorted(set(REGRESSORS) - {"constant"}))
def test_learns_a_line(name):
    x, y, folds = make_table(200)
    fitted = fit(name, x, y, folds)
    assert np.mean((fitted.out_of_fold - y) ** 2) < 0.6 * y.var()
    assert "reason" not in fitted.chosen
    assert fitted.seconds > 0


@pytest.mark.parametrize("name", REGRESSORS)
def test_the_scale_of_weights_does_not_matter(name):
    x, y, folds = make_table()
    weights = np.random.default_rng(1).random(80)
    one, two = (fit(name, x, y, folds, weights=scale * weights) for scale in (1.0, 1024.0))
    np.testing.assert_allclose(one.out_of_fold, two.out_of_fold, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("clips", [1, 2, 3, 5, 12, 20])
@pytest.mark.parametrize("columns", [1, 40])
def test_few_clips_do_not_stop_it(name, clips, columns):
    fitted = fit(name, *make_table(clips, columns))
    assert "reason" in fitted.chosen or fitted.model.settings()["kind"] != "constant" or name == "constant"


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x, y, folds: (np.full_like(x, 7), y, folds),
        lambda x, y, folds: (np.where(np.arange(5) == 1, np.float32(3e4), x), y, folds),
        lambda x, y, folds: (x, np.full_like(y, 0.5), folds),
        lambda x, y, folds: (x, y.round(1), folds),
        lambda x, y, folds: (x, y, np.zeros_like(folds)),
        lambda x, y, folds: (x, y, np.where(folds < 2, 0, 4)),
        lambda x, y, folds: (x, (folds == 0) * 1.0, folds),
        lambda x, y, folds: (x * np.float32(1e15), y, folds),
        lambda x, y, folds: (x * np.float32(1e-15), y, folds),
        lambda x, y, folds: (x[np.arange(80) % 2], y, folds),
        lambda x, y, folds: (x[:, :0], y, folds),
    ],
    ids=[
        "constant features",
        "a constant column",
        "equal scores",
        "ties",
        "one fold",
        "two folds",
        "scores alike in a fold",
        "huge features",
        "minute features",
        "two kinds of clip",
        "no column",
    ],
)
def test_odd_data_do_not_stop_it(name, change):
    table = change(*make_table())
    assert np.isfinite(fit(name, *table).model(table[0])).all()


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_fold_outside_which_nothing_weighs_does_not_stop_it(name):
    x, y, folds = make_table()
    assert np.isfinite(fit(name, x, y, folds, weights=(folds == 0) * 1.0).out_of_fold).all()


@pytest.mark.parametrize("name", sorted(set(REGRESSORS) - {"constant"}))
def test_what_cannot_be_fitted_becomes_the_constant_with_the_reason(name):
    x, y, folds = make_table()
    fitted = fit(name, x, y, np.zeros_like(folds))
    assert fitted.chosen["reason"].startswith("all train clips are in one fold")
    assert fitted.model.settings()["kind"] == "constant"
    np.testing.assert_allclose(fitted.model(x), y.mean())


def test_an_unknown_regressor_is_refused():
    with pytest.raises(ConfigError, match="unknown regressor forest, expected one of ridge"):
        fit_regressor("forest", *make_table())


def test_lengths_that_differ_are_refused():
    x, y, folds = make_table()
    with pytest.raises(ShapeError, match=r"got features \(80, 5\), 79 scores"):
        fit_regressor("ridge", x, y[1:], folds)


@pytest.mark.parametrize("what", ["feature", "score"])
def test_what_is_not_finite_is_refused(what):
    x, y, folds = make_table()
    (x if what == "feature" else y)[3] = np.nan
    with pytest.raises(FeatureError, match=f"a train clip's {what} is NaN or infinite"):
        fit_regressor("ridge", x, y, folds)


def test_of_few_clips_no_fold_has_a_part_in_choosing_what_predicts_it(monkeypatch):
    monkeypatch.setattr(regressors, "MOST_NESTED", 400)
    # Scores that nothing tells of: what these very folds chose among dozens of settings looks as if something did.
    rng = np.random.default_rng(5)
    gains = []
    for _ in range(3):
        features, scores = rng.normal(size=(60, 8)).astype(np.float32), rng.normal(0.7, 0.1, 60)
        folds = cut_folds(None, 60, seed=0)
        nested = fit_regressor("svr", features, scores, folds).out_of_fold
        rows = TrainRows(features, scores, np.ones(60), folds)
        gains.append(rows.score_error(nested) - rows.score_error(fit_svr(rows).out_of_fold))
    assert np.mean(gains) > 0


@pytest.mark.parametrize("name", REGRESSORS)
def test_few_clips_of_which_all_but_one_fold_weigh_nothing_are_predicted(name: str, monkeypatch):
    monkeypatch.setattr(regressors, "MOST_NESTED", 400)
    x, y, folds = make_table(40)
    assert np.isfinite(fit(name, x, y, folds, weights=(folds == 0).astype(float)).out_of_fold).all()
