"""A search's table: rows of settings, the preset among them, the best one as a file. Tune runs in integration tests."""

import numpy as np
import pandas as pd
import pytest
from trained_studies import train_study

from m3ray.pipelines.study import search
from m3ray.study.search_history import DONE, Setting
from m3ray.study.search_space import point_from_training, training_from_point

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
    fresh = best["fresh_seeds"]
    assert fresh["difference"]["mean"] == pytest.approx(fresh["best"] - fresh["preset"], abs=1e-6)
    assert fresh["best"] != fresh["preset"]
    assert training_from_point(point, variant.training).learning_rate == 0.02


def test_a_search_is_known_by_its_data_variant_seeds_trials_and_metric(trained):
    study, variant, _ = trained
    identity = search._identify_search(study, variant, 8, "spearman")
    assert set(identity) == {"data", "variant", "seeds", "trials", "metric"}
    assert identity == search._identify_search(study, variant, 8, "spearman")
    assert identity != search._identify_search(study, variant, 9, "spearman")
    assert identity != search._identify_search(study, variant, 8, "mse")
