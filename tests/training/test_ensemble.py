"""The ensemble of the MLP and regressors: better where it is, and honest where it is not."""

import json

import numpy as np
import pytest

from m3ray.errors import ShapeError
from m3ray.model import StackedMLP
from m3ray.model.regressors import Linear
from m3ray.training.ensemble import fit_ensemble, make_mixture

CLIPS, RUNS = 1500, {"mlp": 10}
FOLDS = np.arange(CLIPS) % 5


def made(seed=0, clips=CLIPS):
    """Truth, and members with errors of their own: an MLP of two runs, a ridge and a better SVR."""
    rng = np.random.default_rng(seed)
    signal = 0.07 * rng.standard_normal(clips)
    truth = np.clip(0.75 + signal + 0.07 * rng.standard_normal(clips), 0, 1)

    def member(noise, runs=1):
        return 0.75 + 0.6 * signal + noise * rng.standard_normal((runs, clips))

    return rng, truth, {"mlp": member(0.04, 2), "ridge": member(0.04), "svr": member(0.03)}


def fit(members, truth, **options):
    return fit_ensemble(members, truth, np.arange(len(truth)) % 5, **{"runs": RUNS, **options})


def test_an_ensemble_of_members_with_errors_of_their_own_is_better_than_each():
    _, truth, members = made()
    found = fit(members, truth)
    assert found.is_better
    assert all(found.together.mse < alone.mse for alone in found.alone.values())
    assert all(found.together.spearman > alone.spearman for alone in found.alone.values())
    assert all(weight > 0 for weight in found.weights.values())
    assert sum(found.together.shares.values()) == pytest.approx(1)
    assert found.describe().startswith("ensemble of mlp 0.")
    assert f"out of fold rho {found.together.spearman:.4f}, MSE {found.together.mse:.5f}; the MLP alone rho" in (
        found.describe()
    )
    assert json.loads(json.dumps(found.as_json()))["alone"]["svr"]["mse"] == found.alone["svr"].mse


def test_ranks_alone_become_scores():
    """As an MLP of the Spearman loss alone predicts: 0.494 to 0.505, where the mean is 0.75."""
    _, truth, members = made()
    tiny = {"mlp": 0.4995 + 0.03 * (members["mlp"] - 0.75)}
    assert np.ptp(tiny["mlp"]) < 0.02
    raw_error = np.mean((tiny["mlp"].mean(axis=0) - truth) ** 2)
    found = fit(tiny, truth)
    assert raw_error > 5 * found.constant_mse
    assert found.alone["mlp"].mse < 0.8 * found.constant_mse
    assert abs(found.alone["mlp"].mean_error) < 1e-3


def test_a_bias_is_taken_out():
    """As `mse_to_spearman` leaves it, low by 0.095."""
    _, truth, members = made()
    found = fit({name: values - 0.095 for name, values in members.items()}, truth)
    for fitted in (found.together, *found.alone.values()):
        assert abs(fitted.mean_error) < 1e-3


def test_permuted_scores_make_no_ensemble_better():
    """Of 40 permutations at most a few by chance, and the error is the constant's."""
    better, ratios = [], []
    for seed in range(40):
        rng, truth, members = made(seed, 300)
        found = fit(members, rng.permutation(truth))
        better.append(found.is_better)
        ratios.append(found.together.mse / found.constant_mse)
    assert np.mean(better) <= 0.15
    assert max(ratios) <= 1
    assert min(ratios) > 0.95


def test_a_member_that_adds_nothing_makes_no_ensemble_better():
    rng, truth, members = made()
    noise = {"mlp": members["mlp"], "ridge": 0.75 + 0.05 * rng.standard_normal((1, CLIPS))}
    found = fit(noise, truth)
    assert found.together.shares["ridge"] < 0.05
    assert found.together.mse == pytest.approx(found.alone["mlp"].mse, rel=0.01)


def test_without_an_mlp_the_ensemble_is_measured_against_the_constant():
    rng, truth, members = made()
    assert fit({"ridge": members["ridge"]}, truth).is_better
    assert not fit({"ridge": rng.standard_normal((1, CLIPS))}, rng.permutation(truth)).is_better


@pytest.mark.parametrize(
    ("clips", "folds", "said"),
    [
        (19, np.arange(19) % 5, "19 train clips are too few to fit weights on, 20 are the fewest"),
        (20, np.zeros(20), "all train clips are in one fold, so none was held out"),
    ],
)
def test_what_cannot_be_fitted_is_said(clips, folds, said):
    _, truth, members = made(clips=clips)
    found = fit_ensemble(members, truth, folds)
    assert (found.note, found.is_better, found.together.mse) == (said, False, None)
    assert said in found.describe("mlp")
    assert found.choose("mlp").weights == {"mlp": 1.0}
    assert json.loads(json.dumps(found.as_json()))["note"] == said


def test_runs_that_diverged_are_left_out_and_a_member_of_none_is_said():
    _, truth, members = made()
    members["mlp"][0, 3] = np.nan
    assert fit(members, truth).weights == fit({**members, "mlp": members["mlp"][1:]}, truth).weights
    members["mlp"][1, 4] = np.inf
    assert fit(members, truth).note == "mlp predicts nothing finite out of fold"


def test_two_folds_and_twenty_clips_are_enough():
    _, truth, members = made(clips=20)
    found = fit_ensemble(members, truth, np.arange(20) % 2)
    assert found.together.mse <= found.constant_mse


def test_members_of_other_clips_are_refused():
    _, truth, members = made()
    with pytest.raises(ShapeError, match=r"ridge: expected predictions \(R, 1500\), got \(1, 7\)"):
        fit({**members, "ridge": np.zeros((1, 7))}, truth)
    with pytest.raises(ShapeError, match="got none"):
        fit({}, truth)


def test_the_mixture_has_the_weights_the_map_and_runs_of_one_mean():
    _, truth, members = made()
    found = fit(members, truth)
    features = np.random.default_rng(3).standard_normal((50, 4)).astype(np.float32)
    models = {"ridge": Linear(np.ones(4) / 100, 0.7), "svr": Linear(np.ones(4) / 50, 0.7)}
    mlp = StackedMLP(4, (8,), [0, 1, 2])
    mixture = make_mixture(found, "ensemble", mlp, models, features)
    assert mixture.members == found.weights
    assert mixture.recalibration == found.recalibration
    np.testing.assert_allclose(mixture._predict_runs(features).mean(axis=1), members["mlp"].mean())
    alone = make_mixture(found, "svr", mlp, models, features)
    assert (alone.mlp, list(alone.members), alone.offsets) == (None, ["svr"], None)
