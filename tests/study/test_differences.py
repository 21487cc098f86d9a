"""Differences to the full model, on val and on test, in Spearman and in MSE."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_predictions import KINDS, make_models, make_scores, make_truth
from planted import planted, planted_tiers
from scipy import stats

from m3ray.config import TrainConfig
from m3ray.study.differences import (
    PREFIXES,
    SplitPredictions,
    add_differences,
    add_mean_errors,
    name_estimate,
    order_rows,
    read_difference,
    select_last_epochs,
)
from m3ray.study.statistics import difference, holm
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

TRAINING = TrainConfig(hidden=(8,), epochs=5, learning_rate=1e-2, batch=256)


def list_seeds(names, seeds=(0, 1, 2, 3)):
    """Content of runs.parquet as far as differences need it."""
    return pd.DataFrame([{"variant": n, "run": k, "seed": s, "epoch": 1} for n in names for k, s in enumerate(seeds)])


def compare_trials(variants, data, seeds):
    """Train variants and compare them on val and on test, as a study does."""
    results = [run_trial(v, data, seeds, torch.device("cpu")) for v in variants]
    runs = pd.concat([r.runs for r in results], ignore_index=True)
    val = SplitPredictions({str(r.summary["variant"]): r.trained.val for r in results}, data.scores[data.val])
    test = SplitPredictions({str(r.summary["variant"]): r.test for r in results}, data.scores[data.test])
    frame = pd.DataFrame([r.summary for r in results])
    return add_differences(frame, runs, val, test).set_index("variant"), runs


def test_leaving_out_the_column_that_matters_shows():
    data = planted()
    training = TrainConfig(hidden=(16,), epochs=8, learning_rate=1e-2)
    variants = [Variant("all", ("raw",), training=training)]
    variants += [Variant(f"without {n}", ("raw",), (n,), training, "all") for n in ("brightness", "contrast")]
    trials, runs = compare_trials(variants, data, (0, 1, 2, 3))
    assert trials.loc["without contrast", "delta_high"] < -0.3
    assert trials.loc["without brightness", "delta_low"] > -0.05
    assert np.isnan(trials.loc["all", "delta_spearman"])
    assert len(runs) == 3 * 4 * 8
    last = runs[(runs["variant"] == "all") & (runs["epoch"] == 8)]["val_spearman"]
    assert trials.loc["all", "spearman"] == pytest.approx(last.mean())
    assert trials.loc["all", "spearman_std"] == pytest.approx(last.std())
    gap = trials.loc["without contrast", "mse"] - trials.loc["all", "mse"]
    assert trials.loc["without contrast", "mse_delta"] == pytest.approx(gap, rel=1e-4)
    assert trials.loc["without contrast", "mse_delta_low"] > 0
    assert trials["test_delta_spearman"].isna().all(), "no clip is of the split test"
    assert set(trials["test_delta_reason"]) == {""}


def test_every_difference_has_its_columns():
    rng = np.random.default_rng(0)
    truth = rng.random(40)
    models = {name: truth + 0.2 * rng.standard_normal((4, 40)) for name in ("full", "x")}
    trials = pd.DataFrame({"variant": ["full", "x"], "full": [None, "full"]})
    split = SplitPredictions(models, truth)
    found = add_differences(trials, list_seeds(models), split, split).set_index("variant").loc["x"]
    for (_, metric), prefix in PREFIXES.items():
        expected = difference(models["full"], models["x"], truth, metric=metric)
        assert found[name_estimate(prefix)] == expected.estimate
        assert read_difference(found, prefix) == expected
        assert (found[f"{prefix}_runs"], found[f"{prefix}_clips"]) == (4, 40)
    assert [name_estimate(p) for p in PREFIXES.values()] == [
        "delta_spearman",
        "mse_delta",
        "test_delta_spearman",
        "test_mse_delta",
    ]


def test_runs_are_paired_by_their_seed():
    """The seeds that both have, in whatever order either was trained."""
    rng = np.random.default_rng(0)
    truth = rng.random(30)
    full, row = rng.random((3, 30)), rng.random((3, 30))
    runs = pd.concat([list_seeds(["full"], (0, 1, 2)), list_seeds(["x"], (1, 0, 3))])
    trials = pd.DataFrame({"variant": ["full", "x", "y"], "full": [None, "full", "gone"]})
    found = add_differences(trials, runs, SplitPredictions({"full": full, "x": row}, truth)).set_index("variant")
    assert read_difference(found.loc["x"]) == difference(full[[0, 1]], row[[1, 0]], truth)
    assert found.loc["x", "delta_runs"] == 2
    assert found.loc[["full", "y"], "delta_spearman"].isna().all()
    assert found["delta_reason"].tolist() == ["", "", "gone was not trained"]


def test_what_cannot_be_compared_says_why():
    rng = np.random.default_rng(0)
    truth, trials = rng.random(30), pd.DataFrame({"variant": ["full", "x"], "full": [None, "full"]})
    models = {"full": rng.random((4, 30)), "x": rng.random((4, 30))}

    def explain(runs, val, test=None, prefix="delta"):
        return add_differences(trials, runs, val, test).set_index("variant").loc["x", f"{prefix}_reason"]

    whole = SplitPredictions(models, truth)
    assert explain(list_seeds(models), whole) == ""
    older = SplitPredictions({}, truth)
    words = "trained before predictions of the test split were kept"
    assert explain(list_seeds(models), whole, older, "test_delta") == words
    apart = pd.concat([list_seeds(["full"], range(4)), list_seeds(["x"], range(4, 8))])
    assert explain(apart, whole) == "no seed in common with full"
    flat = SplitPredictions(models, np.full(30, 0.5))
    assert explain(list_seeds(models), flat) == "all scores are equal: rank correlation is undefined"
    assert explain(list_seeds(models), flat, prefix="mse_delta") == ""
    few = SplitPredictions({name: values[:, :2] for name, values in models.items()}, truth[:2])
    assert explain(list_seeds(models), few) == "2 clips: no interval under 20"


def test_weights_of_the_clips_count():
    rng = np.random.default_rng(0)
    truth, weights = rng.random(60), rng.random(60) + 0.5
    models = {"full": rng.random((2, 60)), "x": rng.random((2, 60))}
    trials = pd.DataFrame({"variant": ["full", "x"], "full": [None, "full"]})
    found = add_differences(trials, list_seeds(models, (0, 1)), SplitPredictions(models, truth, weights))
    expected = difference(models["full"], models["x"], truth, weights=weights)
    assert read_difference(found.iloc[1]) == expected


def test_an_older_study_s_interval_is_not_taken_for_one_over_runs_and_clips():
    older = {"delta_spearman": 0.1, "delta_low": 0.05, "delta_high": 0.15, "boot_low": 0.0, "boot_high": 0.2}
    found = read_difference(older)
    assert (found.estimate, found.low) == (0.1, None)
    assert "run the study again" in found.reason


@pytest.mark.integration  # for its twenty seconds
def test_planted_effects_are_found_and_absent_ones_are_not():
    """20 studies: the right column's star is there; false ones of all four differences are as rare as 6 %."""
    names = ("brightness", "contrast", "blurriness", "mean_optical_flow")
    variants = [Variant("all", ("raw",), training=TRAINING)]
    variants += [Variant(f"without {n}", ("raw",), (n,), TRAINING, "all") for n in names]
    first, found, false = 0, 0, dict.fromkeys(PREFIXES.values(), 0)
    for seed in range(20):
        frame, _ = compare_trials(variants, planted_tiers(seed=seed, test=True), range(4 * seed, 4 * seed + 4))
        first += frame["delta_spearman"].idxmin() == "without contrast"
        corrected = pd.Series(holm(frame["delta_p"].to_numpy()), frame.index)
        right = [read_difference(frame.loc["without contrast"], prefix) for prefix in PREFIXES.values()]
        found += all(d.excludes_zero for d in right) and corrected["without contrast"] < 0.05
        for prefix in PREFIXES.values():
            absent = [read_difference(frame.loc[f"without {name}"], prefix) for name in names[2:]]
            false[prefix] += sum(d.excludes_zero for d in absent)
    assert first >= 17
    assert found >= 17
    # 40 intervals each; more than 7 come once in a thousand where 6 % are false.
    most = stats.binom.ppf(0.999, 40, 0.06)
    assert max(false.values()) <= most, false


def test_no_printed_interval_is_false_more_often_than_promised():
    """120 made studies of 6 rows against one full model, by chance alone, on val and test, in Spearman and MSE."""
    names, kind = [f"row {k}" for k in range(6)], KINDS[2]
    trials = pd.DataFrame({"variant": ["full", *names], "full": [None] + ["full"] * 6})
    false, tables = dict.fromkeys(PREFIXES.values(), 0), 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        splits = []
        for clips in (150, 100):
            truth = make_truth(rng, clips)
            models = make_models(rng, kind, truth, 7, 4)
            splits.append(SplitPredictions(dict(zip(trials["variant"], models, strict=True)), make_scores(truth)))
        frame = add_differences(trials, list_seeds(trials["variant"]), *splits)
        for prefix in false:
            false[prefix] += sum(read_difference(row, prefix).excludes_zero for row in frame.to_dict("records"))
        tables += bool((holm(frame["delta_p"].to_numpy()) < 0.05).any())
    # The rows of a study share its full model, so they count as half of the 720.
    assert max(false.values()) <= 2 * stats.binom.ppf(0.999, 360, 0.06), false
    assert min(false.values()) >= 2 * stats.binom.ppf(0.001, 360, 0.03), false
    assert tables <= stats.binom.ppf(0.999, 120, 0.06)


def test_order():
    frame = pd.DataFrame({"variant": ["b", "a", "c"], "x": [1, 2, 3]})
    assert order_rows(frame, ["a", "missing", "b"])["x"].tolist() == [2, 1]


def test_runs_may_end_at_different_epochs():
    runs = pd.DataFrame({"variant": list("aab"), "run": [0, 0, 0], "epoch": [1, 2, 1], "x": [1, 2, 3]})
    assert select_last_epochs(runs)["x"].tolist() == [2, 3]


def test_the_mean_error_is_over_runs_and_weighted_clips_and_missing_where_nothing_was_kept():
    predictions = {"a": np.array([[0.5, 0.6], [0.7, 0.6]]), "lost": np.array([[np.nan, 0.5]])}
    val = SplitPredictions(predictions, np.array([0.4, 0.6]), np.array([3.0, 1.0]))
    rows = add_mean_errors(pd.DataFrame({"variant": ["a", "lost", "failed"]}), val)
    # (3 x 0.1 + 0) / 4 of the first run and (3 x 0.3 + 0) / 4 of the second.
    assert rows["mean_error"][0] == pytest.approx((0.075 + 0.225) / 2)
    assert rows["mean_error"][1:].isna().all()
