"""What a trial of a regressor leaves: a model that is the same for every seed is one run, without a deviation."""

import numpy as np
import pytest
from planted import planted, planted_tiers
from scipy.stats import spearmanr

from m3ray.study.regressor_results import NO_EPOCH, summarise_regressor
from m3ray.study.variants import Variant, name_regressor, regressor_variants

SEEDS = (3, 4, 5)
FULL = Variant("M3", ("raw",))
ENSEMBLE, RIDGE, *_, CONSTANT = regressor_variants(FULL)
COLUMNS = np.arange(3)


def summarise(variant, data, val, test=None):
    test = np.empty((len(val), 0)) if test is None else test
    return summarise_regressor(variant, data, SEEDS, COLUMNS, val, test)


def test_a_model_that_is_the_same_for_every_seed_is_one_run_without_a_deviation():
    data = planted(100)
    val = data.features.values[data.val, 1][None].astype(float)
    result = summarise(RIDGE, data, val)
    rho = spearmanr(val[0], data.scores[data.val]).statistic
    assert result.summary["spearman"] == pytest.approx(rho)
    assert result.summary["ensemble_spearman"] == pytest.approx(rho), "one model is its own mean"
    assert (result.summary["runs"], result.summary["status"]) == (1, "done")
    for name in ("spearman_std", "mse_std", "best_epoch", "best_spearman", "test_spearman"):
        assert result.summary[name] is None, name
    assert result.summary["full"] == "M3"


def test_its_predictions_stand_once_a_seed_so_that_every_run_of_the_mlp_has_a_partner():
    data = planted_tiers(400, test=True)
    val, test = (data.scores[rows][None] * 0.5 for rows in (data.val, data.test))
    result = summarise(RIDGE, data, val, test)
    np.testing.assert_array_equal(result.val, np.repeat(val, 3, axis=0))
    np.testing.assert_array_equal(result.test, np.repeat(test, 3, axis=0))
    assert result.runs["seed"].tolist() == [3, 4, 5]
    assert result.runs["epoch"].eq(NO_EPOCH).all(), "a row a run: there are no epochs"
    assert result.runs["train_loss"].isna().all()
    assert result.runs["val_mse"].nunique() == 1
    assert result.predictions["spread"].eq(0).all()
    assert result.summary["test_spearman"] == pytest.approx(1.0), "half of the truth ranks as it does"
    assert result.summary["test_spearman_std"] is None


def test_an_ensemble_of_several_runs_has_their_deviation():
    data = planted(100)
    noise = np.random.default_rng(0).standard_normal((3, len(data.val)))
    val = data.scores[data.val] + 0.2 * noise
    result = summarise(ENSEMBLE, data, val)
    rhos = [spearmanr(row, data.scores[data.val]).statistic for row in val]
    assert result.summary["runs"] == 3
    assert result.summary["spearman"] == pytest.approx(np.mean(rhos))
    assert result.summary["spearman_std"] == pytest.approx(np.std(rhos, ddof=1))
    np.testing.assert_allclose(result.runs["val_spearman"], rhos)
    np.testing.assert_array_equal(result.val, val)


def test_a_constant_has_an_error_and_no_rank_correlation_and_that_is_no_failure():
    data = planted(100)
    result = summarise(CONSTANT, data, np.full((1, len(data.val)), 0.5))
    assert result.summary["spearman"] is None
    assert result.summary["kendall"] is None
    assert result.summary["status"] == "done"
    # Mean of (0.5 - y)^2 by hand.
    assert result.summary["mse"] == pytest.approx(np.mean((0.5 - data.scores[data.val].astype(float)) ** 2))


def test_a_regressor_that_predicts_one_score_and_runs_that_diverged_are_named():
    data = planted(100)
    alike = summarise(RIDGE, data, np.full((1, len(data.val)), 0.5))
    assert alike.summary["status"] == "predicts one score for all clips"
    val = np.tile(data.scores[data.val], (3, 1))
    val[1] = np.nan
    diverged = summarise(ENSEMBLE, data, val)
    assert diverged.summary["status"] == "1 of 3 runs diverged or are constant"
    assert diverged.summary["spearman"] is None, "the other runs' mean would be of a choice"


def test_the_rows_of_table_7_are_named():
    assert [v.name for v in regressor_variants(FULL)] == [
        name_regressor(name) for name in ("ensemble", "ridge", "svr", "boosting", "constant")
    ]
