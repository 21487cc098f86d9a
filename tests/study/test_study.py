from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError, StudyError
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.model import parameter_count
from m3ray.study.differences import in_order, with_differences
from m3ray.study.search_space import SPACE, as_point, training_of
from m3ray.study.statistics import bootstrap_spearman, paired_difference, percentile_interval
from m3ray.study.trial import columns_of, run_trial
from m3ray.study.variants import M3S, Variant, study_variants, table1, table2, table3, table4

CPU = torch.device("cpu")
RAW = ("brightness", "contrast", "blurriness", "mean_optical_flow", *(f"hog_{k}" for k in range(10)), "size_bytes")
# Widths on Memento10k: DBSCAN's one-hot has 852 columns there (the supplement, Table 4).
BLOCKS = (
    Block("raw", RAW, True),
    Block("scene", tuple(f"scene_{k}" for k in range(720)), False),
    Block("event", tuple(f"event_{k}" for k in range(2048)), False),
    Block("similarity", tuple(f"s_{k}" for k in range(852)), False),
)
REAL = Features((), np.empty((0, 3635), np.float32), BLOCKS)


def test_table_3_has_the_paper_s_features_and_parameters():
    """The supplement, Table 3: model, features, parameters (to three digits there)."""
    paper = {
        "M3-S": (3_635, 1.89e6),
        "M3": (2_783, 1.46e6),
        "M3-S without raw": (3_620, 1.89e6),
        "M3 without raw": (2_768, 1.45e6),
        "M3-S without scene": (2_915, 1.53e6),
        "M3 without scene": (2_063, 1.09e6),
        "M3-S without event": (1_587, 8.45e5),
        "M3 without event": (735, 4.09e5),
    }
    found = {v.name: len(columns_of(REAL, v)) for v in table3(M3S)}
    assert found == {name: features for name, (features, _) in paper.items()}
    for name, (features, parameters) in paper.items():
        assert parameter_count(features, (512, 64)) == pytest.approx(parameters, rel=5e-3), name


def test_table_1_has_the_paper_s_features():
    found = {v.name: len(columns_of(REAL, v)) for v in table1(M3S)}
    assert found == {
        "raw, all features": 15,
        "raw without blurriness": 14,
        "raw without brightness": 14,
        "raw without contrast": 14,
        "raw without size_bytes": 14,
        "raw without mean_optical_flow": 14,
        "raw without hog": 5,
    }
    assert all(v.training.hidden == (64,) for v in table1(M3S))


def test_table_2_has_the_paper_s_features():
    """The supplement, Table 2, its unfrozen row apart."""
    found = {v.name: len(columns_of(REAL, v)) for v in table2(M3S)}
    assert found == {
        "M3-S": 3635,
        "M3-S without brightness": 3634,
        "M3-S without contrast": 3634,
        "M3-S without blurriness": 3634,
        "M3-S without hog": 3625,
        "M3-S without size_bytes": 3634,
        "M3-S without mean_optical_flow": 3634,
    }


def test_table_4_has_each_measure_alone_and_within_m3_and_shares_m3_s():
    tiers = [*M3S, "similarity:kde", "similarity:cosine_mean"]
    rows = {v.name: v for v in table4(tiers)}
    assert list(rows) == [
        "similarity alone",
        "M3-S",
        "cosine_mean alone",
        "M3 + cosine_mean",
        "kde alone",
        "M3 + kde",
    ]
    assert rows["M3-S"] == table3(tiers)[0], "trained once"
    assert rows["kde alone"].training.epochs == 15  # the supplement, Table 4
    assert rows["M3 + kde"].tiers == ("raw", "scene", "event", "similarity:kde")
    assert rows["M3 + kde"].full == "M3"
    assert table3(tiers)[0].tiers == M3S, "other measures are no part of the full model"


def test_tables_adapt_to_the_tiers_there_are():
    assert [v.name for v in table3(["raw", "scene"])] == ["M3", "M3 without raw", "M3 without scene"]
    assert table1(["scene"]) == []
    assert [v.tiers for v in table3(["text"])] == [("text",)]
    with pytest.raises(ConfigError, match="--tables 9: choose from"):
        study_variants([9], M3S)
    assert study_variants([3], M3S, epochs=2)[3][0].training.epochs == 2


def test_missing_tiers_are_named():
    with pytest.raises(StudyError, match="no features of tier text"):
        columns_of(REAL, Variant("x", ("raw", "text")))


def test_paired_differences_equal_scipy_s():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 6))
    found = paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_run_has_no_interval():
    found = paired_difference(np.array([0.5]), np.array([0.4]))
    assert (found.low, found.high) == (None, None)
    assert not found.excludes_zero


def planted(rows=600, seed=0):
    """Raw features of which only the second matters."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 3)).astype(np.float32)
    scores = 1 / (1 + np.exp(-(values[:, 1] + 0.3 * rng.standard_normal(rows))))
    block = Block("raw", ("brightness", "contrast", "blurriness"), True)
    features = Features(tuple(f"c{k}" for k in range(rows)), values, (block,))
    return StudyData.make(features, scores, ["train" if k % 5 else "val" for k in range(rows)])


def test_leaving_out_the_column_that_matters_shows():
    data, seeds = planted(), (0, 1, 2, 3)
    training = TrainConfig(hidden=(16,), epochs=8, learning_rate=1e-2)
    variants = [Variant("all", ("raw",), training=training)]
    variants += [Variant(f"without {n}", ("raw",), (n,), training, "all") for n in ("brightness", "contrast")]
    results = [run_trial(v, data, seeds, torch.device("cpu")) for v in variants]
    runs = pd.concat([r.runs for r in results], ignore_index=True)
    val = {r.summary["variant"]: r.trained.val for r in results}
    frame = pd.DataFrame([r.summary for r in results])
    trials = with_differences(frame, runs, val, data.scores[data.val]).set_index("variant")
    assert trials.loc["without contrast", "delta_high"] < -0.3
    assert trials.loc["without brightness", "delta_low"] > -0.05
    assert np.isnan(trials.loc["all", "delta_spearman"])
    assert len(runs) == 3 * 4 * 8
    last = runs[(runs["variant"] == "all") & (runs["epoch"] == 8)]["val_spearman"]
    assert trials.loc["all", "spearman"] == pytest.approx(last.mean())
    assert trials.loc["all", "spearman_std"] == pytest.approx(last.std())


def planted_tiers(rows=2000, seed=0):
    """Four columns; the second decides the score, the first a little, the others not at all."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, 4)).astype(np.float32)
    scores = 1 / (1 + np.exp(-(values[:, 1] + 0.3 * values[:, 0] + rng.standard_normal(rows))))
    block = Block("raw", ("brightness", "contrast", "blurriness", "mean_optical_flow"), True)
    features = Features(tuple(f"c{k}" for k in range(rows)), values, (block,))
    return StudyData.make(features, scores, ["train" if k % 4 else "val" for k in range(rows)])


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
        frame = with_differences(pd.DataFrame([r.summary for r in results]), runs, val, data.scores[data.val])
        frame = frame.set_index("variant")
        first += frame["delta_spearman"].idxmin() == "without contrast"
        right = frame.loc["without contrast"]
        found += right["delta_high"] < 0 and right["boot_high"] < 0
        nothing = frame.loc["without blurriness"]
        absent += nothing["delta_low"] <= 0 <= nothing["delta_high"]
    assert first >= 17
    assert found >= 17
    assert absent >= 17


def test_the_bootstrap_equals_drawing_clips_and_ranking_anew():
    """Reference: SciPy's spearmanr on the drawn clips themselves, ties and all."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 12, 40) / 12
    runs = np.stack([truth + 0.3 * rng.standard_normal(40), np.round(rng.random(40), 1)])
    counts = np.random.default_rng(5).multinomial(40, np.full(40, 1 / 40), 30)
    expected = []
    for count in counts:
        drawn = np.repeat(np.arange(40), count)
        expected.append(np.mean([stats.spearmanr(run[drawn], truth[drawn]).statistic for run in runs]))
    np.testing.assert_allclose(bootstrap_spearman(runs, truth, seed=5, resamples=30), expected, atol=1e-12)


def test_an_interval_of_undefined_resamples_is_none():
    assert percentile_interval(np.full(10, np.nan)) == (None, None)
    low, high = percentile_interval(np.linspace(0, 1, 1001))
    assert (low, high) == pytest.approx((0.025, 0.975))


def test_a_test_split_is_measured_and_chooses_nothing():
    data = planted()
    whole = run_trial(Variant("all", ("raw",), training=TrainConfig(hidden=(8,), epochs=4)), data, (0, 1), CPU)
    assert whole.summary["test_spearman"] is None
    held, val = data.val[::2], data.val[1::2]
    split = replace(data, val=val, test=held)
    found = run_trial(Variant("all", ("raw",), training=TrainConfig(hidden=(8,), epochs=4)), split, (0, 1), CPU)
    with torch.no_grad():
        predicted = found.trained.model(torch.from_numpy(data.scaled[held])).double().numpy()
    expected = np.mean([stats.spearmanr(row, data.scores[held]).statistic for row in predicted])
    assert found.summary["test_spearman"] == pytest.approx(expected)


def test_the_preset_is_a_point_of_the_search_s_space():
    point = as_point(TrainConfig())
    assert all(SPACE[name]._contains(SPACE[name].to_internal_repr(value)) for name, value in point.items())
    assert training_of(point, TrainConfig(epochs=3)) == TrainConfig(epochs=3)
    assert training_of({**point, "hidden": "512x256x64", "batch": 64.0}, TrainConfig()).hidden == (512, 256, 64)


def test_runs_without_a_rank_correlation_are_marked_and_leave_no_nan():
    data = planted(100)
    data.scaled[data.val] = 0.0  # val clips that all look alike get one score
    training = TrainConfig(hidden=(4,), epochs=3)
    result = run_trial(Variant("all", ("raw",), training=training), data, (0, 1), torch.device("cpu"))
    assert result.summary["status"] == "2 of 2 runs diverged or are constant"
    assert result.summary["spearman"] is None
    assert not any(isinstance(v, float) and np.isnan(v) for v in result.summary.values())


def test_order():
    frame = pd.DataFrame({"variant": ["b", "a", "c"], "x": [1, 2, 3]})
    assert in_order(frame, ["a", "missing", "b"])["x"].tolist() == [2, 1]
