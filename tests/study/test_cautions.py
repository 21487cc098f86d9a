"""Warnings of a study, on both sides of each boundary, and silence on healthy data."""

import math

import numpy as np
import pandas as pd
import pytest

from m3ray.study.cautions import (
    caution_baselines,
    caution_clips,
    caution_clusters,
    caution_new_scores,
    caution_pretrained,
    caution_selection,
    find_score_cautions,
)

# By hand: mean 0.5, squared deviations 0.04, 0.01, 0.01, 0.04, whose sum over n - 1 is the variance, 0.0333.
TRUTH = np.array([0.3, 0.4, 0.6, 0.7])


def healthy(rng, clips, rho=0.6):
    """Truth of deviation 0.1 around 0.8, and its best prediction by something that correlates with it by `rho`."""
    signal, noise = rng.standard_normal((2, clips))
    return 0.8 + 0.1 * rho * signal, 0.8 + 0.1 * (rho * signal + math.sqrt(1 - rho**2) * noise)


def warn_of(*given, **more):
    return [caution.text for caution in find_score_cautions(*given, **more)]


def about(sentences, words):
    return [sentence for sentence in sentences if words in sentence]


# Five times the same: the sum of squares is 0.5, and over 19 the variance 0.0263.
TWENTY = np.tile(TRUTH, 5)


@pytest.mark.parametrize(("mse", "warned"), [(0.0297, False), (0.0298, True)])
def test_an_error_above_the_variance_is_worse_than_a_constant(mse, warned):
    # Of perfect scores the differences of squares, -0.04 and -0.01, deviate by sqrt(20 x 0.015^2 / 19) = 0.01539;
    # that of the mean of 20 is 0.00344, so that the boundary is 0.02976.
    found = about(warn_of("M3-S", TWENTY, TWENTY, mse=mse), "above the variance of the scores, 0.0263")
    assert bool(found) == warned


def test_of_fewer_than_twenty_clips_the_variance_is_not_known():
    assert about(warn_of("M3-S", TWENTY[:19], TWENTY[:19], mse=0.1), "above the variance") == []


def test_the_error_is_that_of_the_scores_where_no_table_has_another():
    found = warn_of("M3-S", TWENTY[::-1], TWENTY)  # errors 0.4, 0.2, -0.2, -0.4: mean square 0.1
    assert len(found) == 1
    assert found[0].startswith("M3-S: its mean squared error on val, 0.1, is above")


@pytest.mark.parametrize(("bias", "warned"), [(0.0099, False), (0.0101, True), (-0.0101, True)])
def test_a_mean_error_counts_from_a_tenth_of_the_scores_deviation_on(bias, warned):
    truth = np.tile([0.7, 0.9], 5000)  # deviation 0.1, so a tenth is 0.01
    scores = truth + np.tile([0.02, 0.02, -0.02, -0.02], 2500) + bias  # 3 standard errors are 0.0006
    found = about(warn_of("M3-S", scores, truth), "on average")
    assert bool(found) == warned
    assert not found or f"too {'high' if bias > 0 else 'low'} by 0.0101" in found[0]


@pytest.mark.parametrize(("clips", "warned"), [(98, False), (102, True)])
def test_a_mean_error_counts_beyond_three_standard_errors(clips, warned):
    # Errors of 0.03 +- 0.1: a standard error is 0.1 / sqrt(n - 1), 3 of them are 0.03 at 101 clips.
    truth = np.tile([0.4, 0.8], clips // 2)  # a tenth of the deviation is 0.02
    errors = 0.03 + 0.1 * np.where(np.arange(clips) // 2 % 2 == 0, 1, -1)
    if clips % 4:
        errors[-2:] = 0.03 + 0.1 * np.array([1, -1])
    assert bool(about(warn_of("M3-S", truth + errors, truth), "on average")) == warned


@pytest.mark.parametrize(("share", "warned"), [(0.0501, False), (0.0499, True)])
def test_scores_of_a_twentieth_of_the_truth_s_spread_are_nearly_constant(share, warned):
    truth = np.linspace(0.6, 1.0, 50)
    found = about(warn_of("M3-S", 0.8 + share * (truth - 0.8), truth), "nearly the same score")
    assert bool(found) == warned
    assert not found or "spearman" in found[0]


def test_a_constant_is_said_to_be_one():
    found = warn_of("constant, all tiers", np.full(50, 0.8), np.linspace(0.6, 1.0, 50))
    assert len(about(found, "gives every clip the same score on val, 0.800 to 0.800")) == 1


def test_a_loss_of_ranks_alone_is_warned_of_thrice():
    # A model as `--loss spearman` leaves it: good ranks, 0.494 to 0.505, where the scores are about 0.8.
    truth = np.linspace(0.6, 1.0, 200)
    scores = np.linspace(0.494, 0.505, 200)
    found = warn_of("m3s", scores, truth)
    assert [bool(about(found, words)) for words in ("above the variance", "too low by 0.3", "0.494 to 0.505")] == [
        True
    ] * 3


def test_weights_of_whole_numbers_move_means_as_repetitions_do():
    rng = np.random.default_rng(0)
    scores, truth = healthy(rng, 60)
    scores, weights = scores + np.where(np.arange(60) < 30, 0.3, 0.0), np.where(np.arange(60) < 30, 1.0, 50.0)
    assert about(warn_of("M3-S", scores, truth), "too high by 0.1")
    assert not about(warn_of("M3-S", scores, truth, weights), "on average"), "the 30 biased clips weigh a fiftieth"
    whole = np.repeat(np.arange(60), weights.astype(int))
    mse = np.mean((scores[whole] - truth[whole]) ** 2)
    shown = about(warn_of("M3-S", scores + 0.3, truth, weights), "mean squared error")[0]
    assert f"on val, {np.mean((scores[whole] + 0.3 - truth[whole]) ** 2):.3g}," in shown
    assert mse < 0.02


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        (np.array([0.1, np.nan, 0.3]), np.array([0.2, 0.4, 0.6])),  # a run diverged: the study's row says so
        (np.array([0.9, 0.8, 0.7]), np.full(3, 0.5)),  # truth without variance: nothing to be compared with
        (np.array([0.9, 0.1]), np.array([0.1, 0.9])),
    ],
)
def test_what_is_undefined_is_no_warning(scores, truth):
    assert warn_of("M3-S", scores, truth) == []


@pytest.mark.parametrize(("clips", "warned"), [(0, False), (1, True), (29, True), (30, False)])
def test_fewer_than_thirty_val_clips(clips, warned):
    assert bool(caution_clips(clips)) == warned


def test_few_clips_are_told_what_chance_can_do():
    assert "val has 17 clips" in caution_clips(17)[0]
    assert "±0.49 by chance" in caution_clips(17)[0], "1.96 / sqrt(16)"
    assert "±1.00 by chance" in caution_clips(2)[0], "no correlation is above 1"


@pytest.mark.parametrize(("share", "warned"), [(0.9699, False), (0.97, True), (1.0, True)])
def test_one_cluster_that_holds_nearly_all_clips(share, warned):
    found = caution_clusters("event", share, noise=0.0, eps=0.9)
    assert bool(found) == warned
    assert not found or "in one cluster at eps 0.9," in found[0]


def test_clips_that_are_all_noise_are_in_no_cluster():
    assert "98.0% of the train clips are in no cluster at all," in caution_clusters("scene", 0.98, 0.98, None)[0]


@pytest.mark.parametrize(
    ("gain", "error", "warned"),
    [(0.0101, 0.01, False), (0.01, 0.01, True), (-0.02, 0.01, True), (0.0001, None, False), (0.0, None, True)],
)
def test_a_choice_that_gained_nothing(gain, error, warned):
    assert bool(caution_selection("linear, decay 0.01", gain, error)) == warned


def test_a_choice_that_gained_nothing_says_how_little():
    found = caution_selection("linear", -0.0021, 0.0043)[0]
    assert "linear, which was chosen, scores -0.0021 (standard error 0.0043) beside the preset's" in found


def row(variant, estimate, p, full="M3-S"):
    """A row of trials.parquet, of an equal variance in runs and clips."""
    return {"variant": variant, "full": full, "spearman": 0.6 + (estimate or 0), "delta_spearman": estimate,
            "delta_low": None, "delta_high": None, "delta_p": p, "delta_reason": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("estimate", "p", "warned"),
    [(0.02, 0.024, True), (0.02, 0.026, False), (-0.02, 0.001, False), (None, None, False)],
)
def test_a_baseline_that_is_better_beyond_noise(estimate, p, warned):
    # Two rows: Holm's correction doubles the smaller probability.
    trials = pd.DataFrame([row("M3-S", None, None, None), row("svr", estimate, p), row("ridge", -0.01, 0.9)])
    found = caution_baselines(trials, "M3-S", ["svr", "ridge", "boosting"])
    assert bool(found) == warned
    assert not found or "M3-S is beaten beyond noise by svr (rho 0.6200, +0.0200)" in found[0]


def test_who_made_a_bundle_by_the_default_is_not_told_to_take_the_default():
    """`--model auto` is the default, and its bundle is the ensemble already where that is better."""
    trials = pd.DataFrame([row("M3-S", None, None, None), row("ensemble", 0.02, 0.001)])
    (found,) = caution_baselines(trials, "M3-S", ["ensemble"])
    assert "Score new clips with --model auto" not in found
    assert "--model auto, the default, makes a bundle the ensemble where that is better" in found


def test_a_study_without_baselines_is_silent():
    assert caution_baselines(pd.DataFrame([row("M3-S", None, None, None)]), "M3-S", ["ridge"]) == []


@pytest.mark.parametrize(("top", "clips", "warned"), [(0.505, 10, True), (0.505, 9, False), (0.55, 10, False)])
def test_new_clips_with_one_score(top, clips, warned):
    # Intervals of 0.06 to 0.92: a twentieth of their width is 0.043.
    scores = np.linspace(0.494, top, clips)
    found = caution_new_scores("m3s", scores, np.full(clips, 0.06), np.full(clips, 0.92))
    assert bool(found) == warned
    assert not found or "0.494 to 0.505 over 10 clips, beside 90 % intervals that are 0.86 wide" in found[0]


def test_new_clips_without_intervals_are_not_judged():
    assert caution_new_scores("m3s", np.full(20, 0.5), np.full(20, -np.inf), np.full(20, np.inf)) == []


@pytest.mark.parametrize(("clips", "rho"), [(30, 0.6), (100, 0.3), (1500, 0.15), (1500, 0.6)])
def test_healthy_data_are_warned_of_at_most_once_in_a_hundred(clips, rho):
    rng = np.random.default_rng(0)
    alarms = sum(bool(warn_of("M3-S", *healthy(rng, clips, rho))) for _ in range(2000))
    assert alarms <= 20


def test_a_pretrained_scorer_that_is_better_beyond_noise():
    name = "ResMem, not trained here"
    trials = pd.DataFrame([row("M3-S", None, None, None), row(name, 0.02, 0.024)])
    (sentence,) = caution_pretrained(trials, "M3-S", [name])
    assert "M3-S is beaten beyond noise by ResMem, not trained here (rho 0.6200, +0.0200)" in sentence
    assert "a network that was trained elsewhere, unless these clips were among those that it was" in sentence
    worse = pd.DataFrame([row("M3-S", None, None, None), row(name, -0.02, 0.001)])
    assert caution_pretrained(worse, "M3-S", [name]) == []
    assert caution_pretrained(worse, "M3-S", []) == []
