"""Similarity fitted anew on finetuned vectors."""

import numpy as np
import pytest

from m3ray.config import SimilarityConfig
from m3ray.errors import ConfigError
from m3ray.training.finetuning.similarity_refit import check_refittable, refit_similarity

CONFIG = SimilarityConfig(measure="fractional_mean", components=3)


def test_train_rows_are_leave_one_out_and_scaled_by_train():
    rng = np.random.default_rng(0)
    vectors = {"scene": rng.normal(size=(40, 12)).astype(np.float32), "event": rng.normal(size=(40, 20))}
    train = np.arange(30)
    found = refit_similarity(CONFIG, vectors, train, [["a"]] * 30)
    assert found.rows.shape == (40, 2)
    np.testing.assert_allclose(found.rows[train].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found.rows[train].std(axis=0), 1, atol=1e-5)
    projection, measure = found.fitted.parts["tuned:scene"]
    z = projection.transform(vectors["scene"].astype(np.float64))  # type: ignore[attr-defined]
    # fractional_mean by hand: (sum |x - y|^0.5)^2, mean over the others (train) or over all train clips (the rest).
    frac = (np.abs(z[:, None] - z[None, train]) ** 0.5).sum(axis=2) ** 2
    expected = frac.mean(axis=1)
    expected[train] = frac[train].sum(axis=1) / 29
    raw = found.rows[:, 0] * found.deviation[0] + found.mean[0]
    np.testing.assert_allclose(raw, expected, rtol=1e-4)
    assert measure.columns == ("fractional_mean",)


def test_a_measure_whose_width_may_change_is_rejected():
    with pytest.raises(ConfigError, match="dbscan finds another number of clusters"):
        check_refittable(SimilarityConfig(), 5, ["scene", "event"])
    with pytest.raises(ConfigError, match="the networks trained are scene"):
        check_refittable(CONFIG, 2, ["scene"])
    check_refittable(CONFIG, 2, ["scene", "event"])
