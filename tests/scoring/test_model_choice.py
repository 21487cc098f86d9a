"""What a bundle scores with, and why."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from trained_beside import hold_out, plant, train_beside
from trained_studies import train_study

from m3ray.errors import BundleError, StudyError
from m3ray.scoring.model_choice import choose_model
from m3ray.study.regressor_results import OutOfFold
from m3ray.study.store import read_out_of_fold, write_out_of_fold
from m3ray.training.ensemble import fit_ensemble


@pytest.fixture
def study(tmp_path):
    """200 clips, of which 150 train."""
    study, variant, _ = train_study(tmp_path, rows=200)
    return study, variant


@pytest.fixture
def beside(study):
    train_beside(*study)
    plant(*study)
    return study


def choose(study, model="auto", fit="auto"):
    trained, variant = study
    return choose_model(trained, variant, "small", model, fit)


def spoil(study, variant, *runs):
    folder = study.trial_folder(variant)
    tensors = {name: value.copy() for name, value in load(study.root.read_bytes(*folder, "model.safetensors")).items()}
    for run in runs:
        tensors["weights.1"][run] = np.nan
    study.root.write_bytes(save(tensors), *folder, "model.safetensors")


def test_the_ensemble_is_chosen_where_it_is_better_and_says_so(beside):
    chosen = choose(beside)
    assert (chosen.name, list(chosen.seeds)) == ("ensemble", [0, 1])
    assert chosen.found["is_better"]
    assert chosen.summary.startswith("ensemble of mlp ")
    assert "the MLP alone rho" in chosen.summary
    assert chosen.found["ensemble"]["mse"] < chosen.found["alone"]["mlp"]["mse"]
    data = beside[0].data
    assert len(chosen.left_out) == len(data.train)
    assert chosen.predict(data.scaled[:4][:, chosen.columns]).shape == (2, 4)


def test_the_mlp_is_kept_where_the_ensemble_is_no_better(beside):
    """The MLP's predictions are the truth but for a little noise: the ridge has nothing to add."""
    study, variant = beside
    kept = read_out_of_fold(study, variant)
    truth = study.data.scores[study.data.train].astype(float)
    noise = np.random.default_rng(0).standard_normal((2, len(truth)))
    write_out_of_fold(study, variant, OutOfFold(truth + 0.001 * noise, kept.folds))
    found = choose(beside)
    assert found.found["ensemble"]["shares"]["ridge"] < 0.02
    write_out_of_fold(study, variant, OutOfFold(np.stack([truth] * 2), kept.folds))
    assert choose(beside).name == "mlp"
    assert "is not better" in choose(beside).summary


def test_an_mlp_without_weight_is_not_in_the_bundle(beside):
    """It predicts the opposite of the truth."""
    study, variant = beside
    kept, truth = read_out_of_fold(study, variant), study.data.scores[study.data.train].astype(float)
    write_out_of_fold(study, variant, OutOfFold(np.stack([1 - truth] * 2), kept.folds))
    chosen = choose(beside, "ensemble")
    assert chosen.found["ensemble"]["weights"]["mlp"] == 0
    assert (chosen.mlp, chosen.seeds, chosen.mixture.runs) == (None, (), 1)


@pytest.mark.parametrize("model", ["auto", "mlp"])
def test_with_the_papers_settings_the_mlp_is_as_it_was_trained(beside, model):
    chosen = choose(beside, model, fit="paper")
    assert (chosen.name, chosen.mixture, chosen.summary, chosen.found) == ("mlp", None, None, None)


def test_the_mlp_alone_is_put_on_the_scores_scale(beside):
    hold_out(*beside)
    chosen, data = choose(beside, "mlp"), beside[0].data
    assert list(chosen.mixture.members) in (["mlp"], [])
    error = chosen.predict(data.scaled[data.train][:, chosen.columns]).mean() - data.scores[data.train].mean()
    assert abs(error) < 0.005
    assert chosen.found["alone"]["mlp"]["mse"] <= chosen.found["constant_mse"]


def test_a_regressor_has_no_mlp_and_one_run(beside):
    chosen = choose(beside, "ridge")
    assert (chosen.name, chosen.mlp, chosen.seeds) == ("ridge", None, ())
    assert list(chosen.mixture.members) == ["ridge"]
    assert chosen.summary.startswith("ridge alone: out of fold rho ")
    assert chosen.predict(beside[0].data.scaled[:4][:, chosen.columns]).shape == (1, 4)


def test_weights_and_what_is_said_are_those_of_the_fit(beside):
    study, variant = beside
    data, kept = study.data, read_out_of_fold(study, variant)
    ridge = read_out_of_fold(study, next(iter(train_beside(study, variant).values())))
    members = {"mlp": kept.predictions, "ridge": ridge.predictions}
    expected = fit_ensemble(members, data.scores[data.train].astype(float), kept.folds, runs={"mlp": 2})
    assert choose(beside, "ensemble").found == expected.as_json()


def test_without_predictions_out_of_fold_the_mlp_stays_and_the_reason_is_said(study, caplog):
    caplog.set_level("INFO")
    chosen = choose(study)
    assert (chosen.name, chosen.mixture) == ("mlp", None)
    assert "the study small has no out-of-fold predictions of M3" in caplog.text
    assert "has no out-of-fold predictions" in chosen.summary


def test_a_run_that_diverged_is_dropped_from_the_ensemble_too(beside):
    spoil(*beside, 0)
    chosen = choose(beside, "ensemble")
    assert (list(chosen.seeds), list(chosen.dropped), chosen.mixture.runs) == ([1], [0], 1)


def test_where_all_runs_diverged_the_regressors_score_and_it_is_said(beside):
    spoil(*beside, 0, 1)
    chosen = choose(beside)
    assert (chosen.name, chosen.mlp, chosen.mixture.members.keys()) == ("ensemble", None, {"ridge"})
    assert "all 2 runs of the MLP diverged" in chosen.summary
    assert np.isfinite(chosen.predict(beside[0].data.scaled[:4][:, chosen.columns])).all()
    with pytest.raises(BundleError, match="small: all 2 runs diverged"):
        choose(beside, "mlp")


def test_runs_that_all_diverged_in_a_fold_leave_the_mlp_as_it_was(beside):
    study, variant = beside
    kept = read_out_of_fold(study, variant)
    write_out_of_fold(study, variant, OutOfFold(np.full_like(kept.predictions, np.nan), kept.folds))
    chosen = choose(beside)
    assert (chosen.name, chosen.mixture) == ("mlp", None)
    assert "every run diverged in some fold" in chosen.summary


@pytest.mark.parametrize("model", ["svr", "ensemble"])
def test_a_model_that_was_not_trained_is_an_error(study, model):
    with pytest.raises(StudyError, match=f"--model {model}: study small"):
        choose(study, model)


def test_too_few_clips_are_said(study):
    trained, variant = study
    few = replace(trained.data, train=trained.data.train[:8])
    small = replace(trained, loaded=replace(trained.loaded, data=few))
    assert "8 train clips are too few" in choose((small, variant)).summary
    with pytest.raises(StudyError, match=r"--model ridge: .* 8 train clips are too few"):
        choose((small, variant), "ridge")
