"""A search's table: rows of settings, the preset among them, the best one as a file. Tune runs in integration tests."""

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted_tiers
from trained_studies import train_study

from m3ray.config import TrainConfig
from m3ray.features.load import StudyFeatures
from m3ray.pipelines.study import search
from m3ray.storage.root import Root
from m3ray.study.search_history import DONE, Setting
from m3ray.study.search_space import point_from_training, training_from_point
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant
from m3ray.training.config_file import load_training

EPOCHS = [{"epoch": 1, "spearman": 0.1, "mse": 0.2}, {"epoch": 2, "spearman": 0.3, "mse": 0.1, "spearman_std": 0.01}]


@pytest.fixture
def trained(tmp_path):
    return train_study(tmp_path)


def test_a_row_is_what_a_setting_reached_last():
    setting = Setting({"gamma": 0.2}, tuple(EPOCHS), DONE)
    row = search._make_row(setting, 2)
    expected = {"gamma": 0.2, "spearman": 0.3, "mse": 0.1, "spearman_std": 0.01, "epochs": 2, "complete": True}
    assert row == expected | {"status": DONE}
    assert not search._make_row(setting, 3)["complete"], "ASHA stopped it"
    assert not search._make_row(Setting({"gamma": 0.2}, tuple(EPOCHS), "failed"), 2)["complete"]


def test_a_setting_that_reported_nothing_has_no_number():
    row = search._make_row(Setting({"gamma": 0.2}, (), "failed"), 2)
    assert np.isnan(row["spearman"])
    assert row["epochs"] == 0


def test_the_preset_is_trained_to_its_end_where_it_was_stopped(trained):
    study, variant, result = trained
    point = point_from_training(variant.training)
    cut = {**point, "spearman": -0.5, "mse": 0.9, "epochs": 1, "status": DONE, "complete": False}
    other = {**cut, "gamma": 0.77, "complete": True}
    frame = search._add_preset(pd.DataFrame([cut, other]), study, variant)
    assert len(frame) == 2
    (row,) = frame[frame["gamma"] == point["gamma"]].to_dict("records")
    assert row["complete"]
    assert row["spearman"] == pytest.approx(result.trained.metrics["spearman"][:, -1].mean(), abs=1e-6)
    again = search._add_preset(frame, study, variant)
    pd.testing.assert_frame_equal(again, frame)


def test_the_best_setting_is_a_file_with_its_gain_on_fresh_seeds(trained):
    study, variant, _ = trained
    point = {**point_from_training(variant.training), "learning_rate": 0.02}
    search._write_best(study, variant, pd.Series({**point, "spearman": 0.4}), "spearman")
    best = study.root.read_json(*study.folder, "best.json")
    assert best["training"]["learning_rate"] == 0.02
    assert (best["metric"], best["val_spearman"]) == ("spearman", 0.4)
    assert best["chosen_on"] == "val"
    fresh = best["fresh_seeds"]
    assert fresh["difference"]["estimate"] == pytest.approx(fresh["best"] - fresh["preset"], abs=1e-6)
    assert fresh["best"] != fresh["preset"]
    assert load_training(study.root.display(*study.folder, "best.json")) == training_from_point(point, variant.training)
    assert training_from_point(point, variant.training).learning_rate == 0.02


def search_planted(folder, point, caplog, metric="spearman", preset=1e-2):
    """What a search leaves whose best setting is `point`, on data with a test split."""
    data = planted_tiers(400, test=True)
    study = Study(Root(str(folder)), "search", StudyFeatures(data, {"raw": "raw-1"}, "key"), tuple(range(6)))
    training = TrainConfig(hidden=(8,), epochs=4, learning_rate=preset)
    variant = Variant("all", ("raw",), training=training)
    with caplog.at_level("INFO"):
        row = pd.Series({**point_from_training(training), **point, metric: 0.4})
        search._write_best(study, variant, row, metric)
    return study.root.read_json(*study.folder, "best.json"), caplog.text


def test_a_search_says_so_when_the_preset_holds(tmp_path, caplog):
    best, said = search_planted(tmp_path, {"learning_rate": 1.01e-2}, caplog)
    assert best["preset_holds"] is True
    assert "the preset holds: on fresh seeds the best setting is not shown to be better: spearman" in said


def test_a_search_whose_best_is_the_preset_says_that_it_holds(tmp_path, caplog):
    best, said = search_planted(tmp_path, {}, caplog)
    assert best["preset_holds"] is True
    assert "the preset holds: the best setting predicts no differently on fresh seeds" in said


@pytest.mark.parametrize("metric", ["spearman", "mse"])
def test_a_best_setting_that_is_worse_on_fresh_seeds_leaves_the_preset(tmp_path, caplog, metric):
    best, said = search_planted(tmp_path, {"learning_rate": 1e-6}, caplog, metric)
    assert best["preset_holds"] is True
    assert f"the preset holds: on fresh seeds the best setting is worse than it by {metric}" in said


def test_a_best_setting_that_is_better_beats_the_preset(tmp_path, caplog):
    best, said = search_planted(tmp_path, {"learning_rate": 1e-2}, caplog, "mse", preset=1e-5)
    gap = best["fresh_seeds"]["difference"]
    assert gap["high"] < 0, "or else this shows nothing"
    assert best["preset_holds"] is False
    assert "the best setting beats the preset on fresh seeds: mse -" in said


def test_a_search_on_few_clips_leaves_it_open(trained, caplog):
    study, variant, _ = trained
    assert len(study.data.val) < 20
    with caplog.at_level("INFO"):
        row = pd.Series({**point_from_training(variant.training), "learning_rate": 0.02, "spearman": 0.4})
        search._write_best(study, variant, row, "spearman")
    assert study.root.read_json(*study.folder, "best.json")["preset_holds"] is None
    assert "whether the preset holds is open: " in caplog.text
    assert "clips: no interval under 20" in caplog.text


def test_a_search_measures_best_and_preset_on_test(tmp_path, caplog):
    best, said = search_planted(tmp_path, {"learning_rate": 2e-2}, caplog)
    test = best["test"]
    assert test["difference"]["estimate"] == pytest.approx(test["best"] - test["preset"])
    data = planted_tiers(400, test=True)
    training = TrainConfig(hidden=(8,), epochs=4, learning_rate=1e-2)
    alone = run_trial(Variant("all", ("raw",), training=training), data, range(1_000, 1_006), torch.device("cpu"))
    assert test["preset"] == pytest.approx(alone.summary["test_spearman"], abs=1e-6)
    assert f"; on test {test['best']:.4f}, the preset {test['preset']:.4f}: python jobs/train.py" in said
    assert "best.json --tiers raw --name tuned" in said, "of the tiers that were searched"


def test_a_search_without_a_test_split_has_no_score_on_it(trained):
    study, variant, _ = trained
    if len(study.data.test):
        pytest.fail("the study has a test split")
    row = pd.Series({**point_from_training(variant.training), "spearman": 0.4})
    search._write_best(study, variant, row, "spearman")
    assert study.root.read_json(*study.folder, "best.json")["test"] is None


def test_a_search_is_known_by_its_data_variant_seeds_trials_and_metric(trained):
    study, variant, _ = trained
    identity = search._identify_search(study, variant, 8, "spearman")
    assert set(identity) == {"data", "variant", "seeds", "trials", "metric"}
    assert identity == search._identify_search(study, variant, 8, "spearman")
    assert identity != search._identify_search(study, variant, 9, "spearman")
    assert identity != search._identify_search(study, variant, 8, "mse")
