"""Weights of members, from what they predict of clips that they did not see."""

import numpy as np
import pytest
from scipy.optimize import nnls

from m3ray.training.member_weights import gather_members, weigh_members

CLIPS = 5000


def made(seed=0, clips=CLIPS):
    """A signal, a truth with noise, and folds."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal(clips)
    return rng, signal, 0.7 + 0.05 * signal + 0.05 * rng.standard_normal(clips), np.arange(clips) % 5


def test_weights_of_many_clips_are_those_of_non_negative_least_squares():
    rng, signal, truth, folds = made()
    members = {name: signal + noise * rng.standard_normal(CLIPS) for name, noise in (("a", 0.5), ("b", 1), ("c", 2))}
    members["bad"] = -signal
    rows = gather_members({k: v[None] for k, v in members.items()}, truth, folds, None, {})
    x = np.stack(list(members.values()), axis=1)
    expected = nnls(x - x.mean(axis=0), truth - truth.mean())[0]
    got = weigh_members(rows).weights
    np.testing.assert_allclose(got, expected, atol=0.02 * expected.max())
    assert got[3] == 0


def test_weights_do_not_depend_on_the_members_scale():
    """A thousandth of the scale, and another mean: a thousand times the weight."""
    rng, signal, truth, folds = made()
    members = {name: (signal + rng.standard_normal(CLIPS))[None] for name in ("mlp", "ridge")}
    plain = weigh_members(gather_members(members, truth, folds, None, {})).weights
    tiny = {**members, "mlp": 0.5 + members["mlp"] / 1000}
    scaled = weigh_members(gather_members(tiny, truth, folds, None, {})).weights
    np.testing.assert_allclose(scaled, plain * [1000, 1], rtol=1e-6)


def test_of_twins_and_few_clips_none_takes_all():
    """Two members that differ by a hundredth of their spread: by least squares one takes nearly all."""
    rng, signal, truth, folds = made(clips=100)
    twins = {name: (signal + 0.01 * rng.standard_normal(100))[None] for name in ("a", "b")}
    a, b = weigh_members(gather_members(twins, truth, folds, None, {})).weights
    assert a == pytest.approx(b, rel=0.05)


def test_fewer_runs_than_the_bundle_has_do_not_lower_the_mlps_weight():
    """Two runs out of fold stand for a bundle of 50: the weight is what the mean of 50 runs gets, within its noise."""
    rng, signal, truth, folds = made()
    ridge = (signal + rng.standard_normal(CLIPS))[None]
    runs = signal + 1.0 * rng.standard_normal((50, CLIPS))
    many = weigh_members(gather_members({"mlp": runs, "ridge": ridge}, truth, folds, None, {})).weights
    few = {"mlp": runs[:2], "ridge": ridge}
    corrected = weigh_members(gather_members(few, truth, folds, None, {"mlp": 50}))
    uncorrected = weigh_members(gather_members(few, truth, folds, None, {}))
    assert corrected.weights[0] == pytest.approx(many[0], rel=0.1)
    assert uncorrected.weights[0] < 0.8 * many[0]
    assert corrected.reliability < 1 == uncorrected.reliability


def test_the_mean_that_a_folds_runs_have_of_their_own_is_taken_out():
    rng, signal, truth, folds = made()
    mlp = signal + rng.standard_normal(5)[folds]
    rows = gather_members({"mlp": mlp[None]}, truth, folds, None, {})
    assert np.corrcoef(rows.outputs[:, 0], signal)[0, 1] > 0.999
    assert rows.outputs.mean() == pytest.approx(mlp.mean())


def test_what_other_members_say_of_a_folds_clips_too_stays():
    """Folds of few sources: their clips differ in truth, and the ridge knows it as well."""
    _, signal, truth, folds = made()
    signal = signal + np.array([-1.0, 0, 0, 0, 1])[folds]
    rows = gather_members({"mlp": signal[None], "ridge": 2 * signal[None]}, truth, folds, None, {})
    np.testing.assert_allclose(rows.outputs[:, 0], signal, atol=1e-9)


def test_members_that_say_nothing_weigh_nothing():
    _, signal, truth, folds = made(clips=50)
    members = {"a": np.full((1, 50), 0.5), "b": signal[None]}
    assert weigh_members(gather_members(members, truth, folds, None, {})).weights[0] == 0
    assert not weigh_members(gather_members(members, np.full(50, 0.7), folds, None, {})).weights.any()


def test_a_clips_weight_is_that_of_so_many_clips():
    rng, signal, truth, folds = made(clips=60)
    members = {"a": (signal + rng.standard_normal(60))[None], "b": (signal + rng.standard_normal(60))[None]}
    times = np.repeat(np.arange(60), np.arange(60) % 3)
    repeated = {name: values[:, times] for name, values in members.items()}
    by_weight = gather_members(members, truth, folds, (np.arange(60) % 3).astype(float), {})
    by_copies = gather_members(repeated, truth[times], folds[times], None, {})
    # The count of clips, which sets how far weights are drawn, is not the same: (sum w)^2 / sum w^2.
    np.testing.assert_allclose(weigh_members(by_weight).weights, weigh_members(by_copies).weights, rtol=0.1)
    assert weigh_members(by_weight).mean == pytest.approx(truth[times].mean())
