"""Differences to the full model, over runs and over clips."""

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted, planted_tiers

from m3ray.config import TrainConfig
from m3ray.study.differences import add_differences, order_rows, select_last_epochs
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant


def test_leaving_out_the_column_that_matters_shows():
    data, seeds = planted(), (0, 1, 2, 3)
    training = TrainConfig(hidden=(16,), epochs=8, learning_rate=1e-2)
    variants = [Variant("all", ("raw",), training=training)]
    variants += [Variant(f"without {n}", ("raw",), (n,), training, "all") for n in ("brightness", "contrast")]
    results = [run_trial(v, data, seeds, torch.device("cpu")) for v in variants]
    runs = pd.concat([r.runs for r in results], ignore_index=True)
    val = {r.summary["variant"]: r.trained.val for r in results}
    frame = pd.DataFrame([r.summary for r in results])
    trials = add_differences(frame, runs, val, data.scores[data.val]).set_index("variant")
    assert trials.loc["without contrast", "delta_high"] < -0.3
    assert trials.loc["without brightness", "delta_low"] > -0.05
    assert np.isnan(trials.loc["all", "delta_spearman"])
    assert len(runs) == 3 * 4 * 8
    last = runs[(runs["variant"] == "all") & (runs["epoch"] == 8)]["val_spearman"]
    assert trials.loc["all", "spearman"] == pytest.approx(last.mean())
    assert trials.loc["all", "spearman_std"] == pytest.approx(last.std())


@pytest.mark.integration  # for its twenty seconds
def test_planted_effects_are_found_and_absent_ones_are_not():
    """20 seeds: the right column first and its intervals without 0; the interval of one without effect holds 0."""
    training = TrainConfig(hidden=(8,), epochs=5, learning_rate=1e-2, batch=256)
    names = ("brightness", "contrast", "blurriness", "mean_optical_flow")
    variants = [Variant("all", ("raw",), training=training)]
    variants += [Variant(f"without {n}", ("raw",), (n,), training, "all") for n in names]
    first, found, absent = 0, 0, 0
    for seed in range(20):
        data = planted_tiers(seed=seed)
        results = [run_trial(v, data, range(4 * seed, 4 * seed + 4), torch.device("cpu")) for v in variants]
        runs = pd.concat([r.runs for r in results], ignore_index=True)
        val = {r.summary["variant"]: r.trained.val for r in results}
        frame = add_differences(pd.DataFrame([r.summary for r in results]), runs, val, data.scores[data.val])
        frame = frame.set_index("variant")
        first += frame["delta_spearman"].idxmin() == "without contrast"
        right = frame.loc["without contrast"]
        found += right["delta_high"] < 0 and right["boot_high"] < 0
        nothing = frame.loc["without blurriness"]
        absent += nothing["delta_low"] <= 0 <= nothing["delta_high"]
    assert first >= 17
    assert found >= 17
    assert absent >= 17


def test_order():
    frame = pd.DataFrame({"variant": ["b", "a", "c"], "x": [1, 2, 3]})
    assert order_rows(frame, ["a", "missing", "b"])["x"].tolist() == [2, 1]


def test_runs_are_paired_by_their_seed():
    """By hand: differences 0.1 and 0.3 of the seeds that both have; t(1) at 97.5 % is 12.7062, s / sqrt(2) is 0.1."""
    rows = [("full", 0, 0.5), ("full", 1, 0.4), ("full", 2, 0.9), ("x", 1, 0.5), ("x", 0, 0.8), ("x", 3, 0.0)]
    runs = pd.DataFrame(
        [
            {"variant": variant, "run": run, "seed": seed, "epoch": epoch, "val_spearman": rho - 0.1 * (2 - epoch)}
            for run, (variant, seed, rho) in enumerate(rows)
            for epoch in (1, 2)
        ]
    )
    trials = pd.DataFrame({"variant": ["full", "x", "y"], "full": [None, "full", "gone"]})
    found = add_differences(trials, runs, {}, np.array([0.0, 1.0])).set_index("variant")
    assert found.loc["x", "delta_spearman"] == pytest.approx(0.2)
    assert found.loc["x", "delta_low"] == pytest.approx(0.2 - 12.7062 * 0.1, abs=1e-4)
    assert found.loc["x", "delta_high"] == pytest.approx(0.2 + 12.7062 * 0.1, abs=1e-4)
    assert found.loc[["full", "y"], "delta_spearman"].isna().all()
    assert found["boot_low"].isna().all(), "without predictions there is nothing to resample"


def test_runs_may_end_at_different_epochs():
    runs = pd.DataFrame({"variant": list("aab"), "run": [0, 0, 0], "epoch": [1, 2, 1], "x": [1, 2, 3]})
    assert select_last_epochs(runs)["x"].tolist() == [2, 3]
