"""What a search was worth: the best setting, the default and the preset on seeds that chose nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted_tiers

from m3ray.config import TrainConfig
from m3ray.features.load import StudyFeatures
from m3ray.storage.root import Root
from m3ray.study.search_baselines import DEFAULT, PRESET, Baselines
from m3ray.study.search_result import Contest, describe_gain, hold_contests, holds, is_gain_shown, show
from m3ray.study.statistics import Difference
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

LOW, MIDDLE, HIGH = (TrainConfig(hidden=(8,), epochs=4, learning_rate=rate) for rate in (1e-5, 1e-3, 2e-2))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    data = planted_tiers(400, test=True)
    root = Root(str(tmp_path_factory.mktemp("search")))
    return Study(root, "search", StudyFeatures(data, {"raw": "raw-1"}, "key"), tuple(range(4)))


def hold(study, best, preset, default, metric="spearman"):
    return hold_contests(study, Variant("all", ("raw",), training=preset), best, Baselines(preset, default), metric)


def test_the_gain_is_over_what_the_user_would_have_had(study):
    """Over the preset it is large, over the default, which is the best setting itself, nothing."""
    val, test = hold(study, best=HIGH, preset=LOW, default=HIGH)
    assert val.values["best"] == val.values[DEFAULT] > val.values[PRESET]
    assert val.gains[PRESET].low > 0
    assert val.gains[DEFAULT].estimate == 0
    assert not is_gain_shown(val, test)
    assert describe_gain(val, test, DEFAULT).startswith("no gain over what jobs/train.py takes by the same options")
    assert describe_gain(val, None, PRESET).startswith("gain over the preset: Spearman better by +")


def test_the_seeds_had_no_part_in_the_choice(study):
    val, test = hold(study, best=HIGH, preset=LOW, default=MIDDLE)
    alone = run_trial(Variant("all", ("raw",), training=MIDDLE), study.data, range(1_000, 1_004), torch.device("cpu"))
    assert val.values[DEFAULT] == pytest.approx(alone.summary["spearman"], abs=1e-6)
    assert test.values[DEFAULT] == pytest.approx(alone.summary["test_spearman"], abs=1e-6)


@pytest.mark.parametrize("metric", ["spearman", "mse", "balanced"])
def test_a_gain_above_nothing_is_better_whatever_is_measured(study, metric):
    better, _ = hold(study, best=HIGH, preset=LOW, default=LOW, metric=metric)
    assert better.gains[DEFAULT].low > 0
    assert is_gain_shown(better, None)
    assert list(better.gains) == [DEFAULT], "one baseline is said once"
    worse, _ = hold(study, best=LOW, preset=HIGH, default=HIGH, metric=metric)
    assert worse.gains[DEFAULT].high < 0
    assert "is worse" in describe_gain(worse, None, DEFAULT)
    assert better.errors["best"] < better.errors[DEFAULT]


def test_a_search_without_test_clips_has_no_contest_there(study):
    data = replace(study.data, test=study.data.test[:1])
    without = replace(study, loaded=replace(study.loaded, data=data))
    assert hold(without, best=HIGH, preset=LOW, default=LOW)[1] is None


def contest(estimate, low=None, high=None, reason="", metric="spearman"):
    gain = Difference(estimate, low, high, reason=reason)
    return Contest(metric, {"best": 0.5, DEFAULT: None}, {"best": 0.01, DEFAULT: 0.02}, {DEFAULT: gain})


@pytest.mark.parametrize(
    ("won", "expected", "words"),
    [
        (contest(0.02, 0.01, 0.03), False, "Spearman better by +0.0200 [+0.0100, +0.0300] on fresh seeds, on the val"),
        (contest(0.02, -0.01, 0.05), True, "is not shown to be better: Spearman better by +0.0200 [-0.0100, +0.0500]"),
        (contest(-0.02, -0.03, -0.01), True, "is worse: Spearman better by -0.0200 [-0.0300, -0.0100]"),
        (contest(0.0, reason="nothing varies"), True, "predicts no differently"),
        (contest(0.02, reason="9 clips"), None, "is open: 9 clips"),
        (contest(None, reason="2 of 4 runs"), None, "is open: 2 of 4 runs"),
        (contest(2e-4, 1e-4, 3e-4, metric="mse"), False, "recalibrated MSE better by +0.00020 [+0.00010, +0.00030]"),
    ],
)
def test_a_verdict_is_a_sentence(won, expected, words):
    assert holds(won.gains[DEFAULT]) is expected
    assert words in describe_gain(won, None, DEFAULT)
    assert is_gain_shown(won, None) is (expected is False)


def test_a_gain_that_turns_on_test_is_not_shown():
    val, test = contest(0.02, 0.01, 0.03), contest(-0.01, -0.03, 0.01)
    assert is_gain_shown(val, contest(0.001, -0.03, 0.03))
    assert not is_gain_shown(val, test)
    assert describe_gain(val, test, DEFAULT).endswith("; on test -0.0100 [-0.0300, +0.0100]")


def test_what_is_undefined_is_said_and_written_so(study):
    assert show(None, "mse") == "undefined"
    assert contest(0.02).describe() == "best 0.5000, what jobs/train.py takes by the same options undefined"
    broken = replace(HIGH, learning_rate=1e9)
    val, _ = hold(study, best=broken, preset=HIGH, default=HIGH)
    assert val.values["best"] is None
    assert val.as_json()["best"] is None
    assert val.as_json()["gain_over_default"]["estimate"] is None
    assert np.isfinite(val.errors[DEFAULT])
