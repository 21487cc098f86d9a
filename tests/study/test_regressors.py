"""Regressors and the ensemble as trials of a study: whose clips they see, whose runs they are paired with."""

from dataclasses import replace

import numpy as np
import pytest
from planted import CPU, planted_tiers
from trained_studies import train_study

from m3ray.config import TrainConfig
from m3ray.errors import StudyError
from m3ray.features.target import Target
from m3ray.model.regressors import Linear
from m3ray.study import regressors
from m3ray.study.regressor_results import OutOfFold
from m3ray.study.regressors import Member, explain_too_few, fit_mixture, read_member, run_ensemble, run_regressor
from m3ray.study.store import collect_trials, write_regressor_trial
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant, regressor_variants
from m3ray.training.out_of_fold import cut_train

FULL = Variant("M3", ("raw",), training=TrainConfig(hidden=(4,), epochs=3))
ENSEMBLE, RIDGE, _, _, CONSTANT = regressor_variants(FULL)
SEEDS = (7, 8, 9)


def weigh(data):
    weights = np.random.default_rng(1).uniform(0.2, 3, len(data.scores)).astype(np.float32)
    return replace(data, weights=weights)


# A regressor


@pytest.fixture
def fitted(monkeypatch):
    """What a regressor is fitted on; the fit itself is the package's own."""
    seen = {}
    whole = regressors.fit_regressor

    def fit(name, features, scores, folds, weights=None, seed=0, cores=2):
        seen.update(name=name, features=features, scores=scores, folds=folds, weights=weights, seed=seed, cores=cores)
        return whole(name, features, scores, folds, weights, seed=seed, cores=cores)

    monkeypatch.setattr(regressors, "fit_regressor", fit)
    return seen


def test_a_regressor_sees_the_train_split_of_the_full_model_s_columns_with_its_weights(fitted):
    data = weigh(planted_tiers(400, test=True))
    less = replace(RIDGE, without=("contrast",))
    result = run_regressor(less, data, SEEDS, cores=1)
    np.testing.assert_array_equal(fitted["features"], data.scaled[data.train][:, [0, 2, 3]])
    np.testing.assert_array_equal(fitted["weights"], data.weights[data.train])
    np.testing.assert_array_equal(fitted["folds"], cut_train(data, seed=7))
    assert (fitted["name"], fitted["seed"], fitted["cores"]) == ("ridge", 7, 1)
    assert result.summary["features"] == 3
    assert result.summary["parameters"] == 4, "three coefficients and an intercept"
    np.testing.assert_array_equal(result.out_of_fold.folds, fitted["folds"])
    assert result.out_of_fold.predictions.shape == (1, len(data.train))
    assert float(result.summary["seconds"] or 0) > 0


def test_a_ridge_finds_the_planted_columns_on_val_and_on_test():
    data = planted_tiers(800, test=True)
    result = run_regressor(RIDGE, data, SEEDS)
    # The score rises with x1 + 0.3 x0 + e, e standard normal: the correlation with x1 + 0.3 x0 is sqrt(1.09 / 2.09),
    # in ranks 6 / pi asin(r / 2) = 0.705, and the standard error on 200 clips about 0.04.
    assert result.summary["spearman"] == pytest.approx(0.705, abs=0.1)
    assert result.summary["test_spearman"] == pytest.approx(0.705, abs=0.1)
    assert result.summary["mse"] < np.var(data.scores[data.val])


def test_predictions_are_in_the_target_s_units_and_within_the_mlp_s_range():
    data = planted_tiers(400)
    own = 3 + 10 * data.scores.astype(float)
    shifted = replace(data, scores=own.astype(np.float32), target=Target.fit("d_prime", own[data.train]))
    result, unit = run_regressor(RIDGE, shifted, SEEDS), run_regressor(RIDGE, data, SEEDS)
    assert result.summary["spearman"] == pytest.approx(unit.summary["spearman"], abs=0.01)
    assert result.val.min() >= shifted.target.low
    assert result.val.max() <= shifted.target.high
    assert abs(result.val.mean() - own[data.val].mean()) < 0.5
    assert np.abs(result.out_of_fold.predictions.mean() - 0.5) < 0.1, "which stays on the model's scale"


def test_a_constant_is_the_train_split_s_mean():
    data = planted_tiers(400)
    result = run_regressor(CONSTANT, data, SEEDS)
    np.testing.assert_allclose(result.val, data.scores[data.train].mean(), atol=1e-6)
    assert result.summary["spearman"] is None
    assert result.summary["status"] == "done"


def test_a_regressor_that_gave_up_says_why(monkeypatch):
    whole = regressors.fit_regressor

    def give_up(_name, *rest, **named):
        fitted = whole("constant", *rest, **named)
        return replace(fitted, chosen={"reason": "too few clips for its components"})

    monkeypatch.setattr(regressors, "fit_regressor", give_up)
    status = run_regressor(RIDGE, planted_tiers(100), SEEDS).summary["status"]
    assert status == "a constant: too few clips for its components"


def test_an_mlp_is_no_regressor():
    with pytest.raises(StudyError, match="M3: has no regressor"):
        run_regressor(FULL, planted_tiers(100), SEEDS)


def test_what_cannot_be_held_out_is_explained():
    data = planted_tiers(100)
    assert explain_too_few(data) is None
    assert "9 train clips are too few" in explain_too_few(replace(data, train=data.train[:9]))
    assert "75 train clips are all of one group" in explain_too_few(replace(data, groups=np.zeros(100, int)))
    assert explain_too_few(replace(data, groups=np.arange(100) % 2)) is None


# The ensemble


def mix(data, mlp_noise=0.3, member_noise=0.1):
    """An MLP of three runs, and a regressor that knows the score up to some noise out of fold."""
    trained = run_trial(FULL, data, SEEDS, CPU).trained
    rng, truth = np.random.default_rng(0), data.scores[data.train].astype(float)
    folds = cut_train(data, seed=7)
    own = OutOfFold(truth + mlp_noise * rng.standard_normal((2, len(truth))), folds, 5.0)
    known = OutOfFold((truth + member_noise * rng.standard_normal(len(truth)))[None], folds, 1.0)
    slope = np.array([0.03, 0.15, 0.0, 0.0])
    member = Member(Linear(slope, 0.5), known, seconds=2.0)
    return trained, own, {"ridge": member}


def test_the_ensemble_is_one_for_each_run_of_the_mlp():
    data = planted_tiers(400, test=True)
    trained, own, members = mix(data)
    result = run_ensemble(ENSEMBLE, data, SEEDS, trained.model, own, members, mlp_seconds=10.0)
    mixture, _ = fit_mixture(data, np.arange(4), trained.model, own, members)
    np.testing.assert_allclose(result.val, mixture(data.scaled[data.val]), atol=1e-12)
    assert result.val.shape == (3, len(data.val))
    assert np.ptp(result.val, axis=0).max() > 0, "runs differ as the MLP's do"
    assert result.test.shape == (3, len(data.test))
    assert (result.summary["runs"], result.summary["status"]) == (3, "done")
    assert float(result.summary["seconds"] or 0) > 2 + 5 + 10, "all that it is made of"
    # 4 x 4 weights and 4 biases, 4 weights and one bias, and the line's 5.
    assert result.summary["parameters"] == 4 * 4 + 4 + 4 + 1 + 5
    assert result.tensors == {}, "its members' trials have them"
    assert result.settings["weights"]["ridge"] > result.settings["weights"]["mlp"]


def test_without_predictions_of_held_out_clips_there_are_no_weights():
    data = planted_tiers(200)
    trained, own, members = mix(data)
    diverged = replace(own, predictions=np.full_like(own.predictions, np.nan))
    with pytest.raises(StudyError, match="the ensemble: mlp predicts nothing finite out of fold"):
        run_ensemble(ENSEMBLE, data, SEEDS, trained.model, diverged, members)


def test_an_ensemble_whose_members_are_all_wrong_is_a_constant_and_says_so():
    data = planted_tiers(200)
    trained, own, members = mix(data)
    wrong = {"ridge": replace(members["ridge"], out_of_fold=reverse(members["ridge"].out_of_fold))}
    result = run_ensemble(ENSEMBLE, data, SEEDS, trained.model, reverse(own), wrong)
    assert result.summary["spearman"] is None
    assert result.summary["status"] == "no better out of fold than one score for all clips"
    np.testing.assert_allclose(result.val, data.scores[data.train].mean(), atol=1e-6)


def reverse(kept):
    return replace(kept, predictions=1 - kept.predictions)


# On disk, and in the study's statistics


def test_a_member_comes_back_as_it_was(tmp_path):
    study, full, _ = train_study(tmp_path)
    ridge = regressor_variants(full)[1]
    result = run_regressor(ridge, study.data, study.seeds)
    with pytest.raises(StudyError, match="ridge, all tiers: was not trained"):
        read_member(study, ridge)
    write_regressor_trial(study, ridge, result)
    member = read_member(study, ridge)
    np.testing.assert_array_equal(member.out_of_fold.predictions, result.out_of_fold.predictions)
    np.testing.assert_array_equal(member.out_of_fold.folds, result.out_of_fold.folds)
    predicted = np.clip(member.model(study.data.scaled[study.data.val]), 0, 1)
    np.testing.assert_allclose(predicted, result.val[0], atol=1e-12)
    assert member.seconds == pytest.approx(result.summary["seconds"])


def test_its_difference_is_paired_with_each_run_of_the_mlp(tmp_path):
    study, full, trained = train_study(tmp_path)
    _, ridge, _, _, constant = regressor_variants(full)
    results = {}
    for variant in (ridge, constant):
        results[variant.name] = run_regressor(variant, study.data, study.seeds)
        write_regressor_trial(study, variant, results[variant.name])
    trials = collect_trials(study, [full, ridge, constant]).set_index("variant")
    row = trials.loc["ridge, all tiers"]
    runs = trained.trained.metrics["spearman"][:, -1]
    assert row["delta_spearman"] == pytest.approx(row["spearman"] - runs.mean())
    assert row["delta_runs"] == 2, "the MLP's"
    assert (row["runs"], np.isnan(row["spearman_std"])) == (1, True)
    assert np.isnan(trials.loc["constant, all tiers", "delta_spearman"])
    assert "undefined" in trials.loc["constant, all tiers", "delta_reason"]
    assert np.isfinite(trials.loc["constant, all tiers", "mse_delta"])
    truth = study.data.scores[study.data.val]
    assert row["mean_error"] == pytest.approx((results["ridge, all tiers"].val[0] - truth).mean())
