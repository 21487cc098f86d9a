"""A search's table: rows of settings, baselines among them, the best one as a file. Tune runs in integration tests."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from planted import planted_tiers
from trained_studies import train_study

from m3ray.config import TrainConfig
from m3ray.config.options import TuneOptions
from m3ray.config.presets import authors_training, memento10k_training
from m3ray.errors import ConfigError, StudyError
from m3ray.features.load import StudyFeatures
from m3ray.model.calibrated_error import calibrated_mse
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import search
from m3ray.storage.root import Root
from m3ray.study.search_baselines import DEFAULT, DRAWN, PRESET, Baselines
from m3ray.study.search_choice import OBJECTIVES
from m3ray.study.search_history import DONE, SearchHistory, Setting
from m3ray.study.search_space import SPACE, point_from_training
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant
from m3ray.training.config_file import load_training, was_chosen_on_val

ONE = Resources(1, 0)
PRESET_TRAINING = TrainConfig(hidden=(64,), epochs=2)
OWN_TRAINING = TrainConfig(hidden=(), epochs=1, weight_decay=1e-2)
BOTH = Baselines(PRESET_TRAINING, OWN_TRAINING)


@pytest.fixture
def trained(tmp_path):
    return train_study(tmp_path)


def make_setting(training, *, spearman=0.5, error=0.01, epochs=None):
    last = {"epoch": epochs or training.epochs, "spearman": spearman, "mse": 0.1, "calibrated_mse": error}
    return Setting(point_from_training(training), ({**last, "balanced": 0.4, "spearman_std": 0.01},), DONE)


def make_study(folder, rows=400):
    data = planted_tiers(rows, test=True)
    study = Study(Root(str(folder)), "search", StudyFeatures(data, {"raw": "raw-1"}, "key"), tuple(range(4)))
    return study, Variant("all", ("raw",), training=PRESET_TRAINING)


def search_history(monkeypatch, folder, *tried, metric="spearman", baselines=BOTH):
    """The table of a search whose settings have all ended already, and what it leaves."""
    study, variant = make_study(folder)
    history = SearchHistory(study.root, study.folder, SPACE, tried)
    monkeypatch.setattr(search, "resume_search", lambda *_: history)
    options = TuneOptions(out=study.root.uri, trials=len(tried), metric=metric)
    frame = search.search_settings(study, variant, baselines, options, ONE)
    return frame, study.root.read_json(*study.folder, "best.json")


def test_a_row_is_what_a_setting_reached_last():
    row = search._make_row(make_setting(PRESET_TRAINING), BOTH)
    expected = {"spearman": 0.5, "mse": 0.1, "calibrated_mse": 0.01, "balanced": 0.4, "spearman_std": 0.01}
    origin = {"epochs": 2, "complete": True, "status": DONE, "origin": PRESET}
    assert row == point_from_training(PRESET_TRAINING) | expected | origin
    cut = make_setting(PRESET_TRAINING, epochs=1)
    assert not search._make_row(cut, BOTH)["complete"], "ASHA stopped it"
    assert not search._make_row(replace(cut, status="failed"), BOTH)["complete"]


def test_the_default_is_complete_after_its_own_epochs():
    row = search._make_row(make_setting(OWN_TRAINING), BOTH)
    assert (row["origin"], row["epochs"], row["complete"]) == (DEFAULT, 1, True)
    drawn = replace(PRESET_TRAINING, gamma=0.77)
    row = search._make_row(make_setting(drawn, epochs=1), BOTH)
    assert (row["origin"], row["complete"]) == (DRAWN, False)


def test_a_setting_that_reported_nothing_has_no_number():
    row = search._make_row(Setting(point_from_training(PRESET_TRAINING), (), "failed"), BOTH)
    assert np.isnan([row["spearman"], row["calibrated_mse"]]).all()
    assert row["epochs"] == 0


def test_a_loss_of_ranks_alone_is_not_chosen_for_a_thousandth(monkeypatch, tmp_path):
    """Its recalibrated error is a third larger; the words of the choice go into the file."""
    ranks = replace(PRESET_TRAINING, loss="spearman")
    tried = (
        make_setting(PRESET_TRAINING, spearman=0.590, error=0.0075),
        make_setting(ranks, spearman=0.591, error=0.0103),
        make_setting(OWN_TRAINING, spearman=0.58, error=0.008),
    )
    frame, best = search_history(monkeypatch, tmp_path, *tried)
    assert frame["loss"].iloc[0] == best["training"]["loss"] == "mse"
    assert frame["admissible"].tolist() == [True, True, False]
    assert best["objective"] == OBJECTIVES["spearman"]
    assert best["val_calibrated_mse"] == 0.0075


def test_a_loss_of_ranks_alone_is_chosen_where_its_error_is_good(monkeypatch, tmp_path):
    ranks = replace(PRESET_TRAINING, loss="spearman")
    tried = (
        make_setting(PRESET_TRAINING, spearman=0.590, error=0.0075),
        make_setting(ranks, spearman=0.591, error=0.0076),
        make_setting(OWN_TRAINING, spearman=0.58, error=0.008),
    )
    assert search_history(monkeypatch, tmp_path, *tried)[1]["training"]["loss"] == "spearman"


def test_settings_that_rank_nothing_are_an_error_and_no_best(monkeypatch, tmp_path):
    nothing = {"spearman": -2.0, "error": 1e9}
    tried = (make_setting(PRESET_TRAINING, **nothing), make_setting(OWN_TRAINING, **nothing))
    with pytest.raises(StudyError, match=r"no setting .* different, finite scores.*trials\.csv") as caught:
        search_history(monkeypatch, tmp_path, *tried)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study" / "search" / "best.json").exists()
    assert pd.read_parquet(tmp_path / "study" / "search" / "trials.parquet")["spearman"].isna().all()


def test_the_baselines_are_trained_to_their_end_where_they_were_stopped(trained):
    study, variant, result = trained
    baselines = Baselines(variant.training, OWN_TRAINING)
    cut = search._make_row(make_setting(variant.training, spearman=-0.5, error=0.9, epochs=1), baselines)
    drawn = replace(variant.training, gamma=0.77)
    other = search._make_row(make_setting(drawn), baselines)
    frame = search._add_baselines(pd.DataFrame([cut, other]), study, variant, baselines)
    assert sorted(frame["origin"]) == sorted([PRESET, DEFAULT, DRAWN])
    row = frame.set_index("origin").loc[PRESET]
    assert row["complete"]
    assert row["spearman"] == pytest.approx(result.trained.metrics["spearman"][:, -1].mean(), abs=1e-6)
    expected = calibrated_mse(result.trained.val, study.data.scores[study.data.val]).mean()
    assert row["calibrated_mse"] == pytest.approx(expected, rel=1e-5)
    again = search._add_baselines(frame, study, variant, baselines)
    pd.testing.assert_frame_equal(again, frame)


def test_a_default_of_the_preset_s_point_and_other_epochs_has_its_own_row(monkeypatch, tmp_path):
    baselines = Baselines(PRESET_TRAINING, replace(PRESET_TRAINING, epochs=1))
    tried = make_setting(PRESET_TRAINING, spearman=-0.9, error=0.5)
    frame, best = search_history(monkeypatch, tmp_path, tried, baselines=baselines)
    assert frame.set_index("origin")["epochs"].to_dict() == {PRESET: 2, DEFAULT: 1}
    assert (best["origin"], best["training"]["epochs"]) == (DEFAULT, 1)


def search_planted(folder, point, capsys, metric="spearman", preset=1e-2, default=None, rows=400):
    """What a search leaves whose best setting is `point`, on data with a test split."""
    study, _ = make_study(folder, rows)
    training = TrainConfig(hidden=(8,), epochs=4, learning_rate=preset)
    baselines = Baselines(training, replace(training, learning_rate=default or preset))
    reached = {"spearman": 0.4, "mse": 0.1, "calibrated_mse": 0.09, "balanced": 0.2, "origin": DRAWN}
    row = pd.Series({**point_from_training(training), **point, **reached})
    options = TuneOptions(out=study.root.uri, metric=metric, trials=3, runs=2)
    search._write_best(study, Variant("all", ("raw",), training=training), baselines, row, options)
    return study.root.read_json(*study.folder, "best.json"), capsys.readouterr().out


def test_the_best_setting_is_a_file_for_train(tmp_path, capsys):
    best, said = search_planted(tmp_path, {"learning_rate": 0.02}, capsys)
    assert best["training"]["learning_rate"] == 0.02
    assert (best["metric"], best["val_spearman"]) == ("spearman", 0.4)
    file = str(tmp_path / "study" / "search" / "best.json")
    assert was_chosen_on_val(file)
    assert load_training(file) == TrainConfig(hidden=(8,), epochs=4, learning_rate=0.02)
    assert best["commands"]["train"] in said
    assert best["commands"]["ablate"] in said
    assert f"--out {tmp_path} --config {file} --tiers raw --runs 2 --name tuned" in best["commands"]["train"]


def test_the_gain_is_over_what_there_was_without_the_search(tmp_path, capsys):
    """Better than the preset, and no better than what the user had: that is a warning."""
    best, said = search_planted(tmp_path, {"learning_rate": 1.01e-2}, capsys, preset=1e-5, default=1e-2)
    fresh = best["fresh_seeds"]
    gain = fresh["gain_over_default"]
    assert gain["estimate"] == pytest.approx(fresh["best"] - fresh["default"], abs=1e-6)
    assert gain["low"] < gain["estimate"] < gain["high"]
    assert fresh["gain_over_preset"]["low"] > 0
    assert (best["default_holds"], best["preset_holds"]) == (True, False)
    assert best["default"]["training"]["learning_rate"] == 1e-2
    assert not best["default"]["is_preset"]
    assert "search: gain over the preset: Spearman better by +" in said
    assert (
        "no gain over what jobs/train.py takes by the same options: the best setting is not shown to be better" in said
    )
    assert "; jobs/train.py without --config may do as well" in said
    assert best["verdict"] in said


def test_a_gain_over_what_there_was_is_no_warning(tmp_path, capsys):
    best, said = search_planted(tmp_path, {"learning_rate": 1e-2}, capsys, "mse", preset=1e-5)
    assert best["fresh_seeds"]["gain_over_default"]["low"] > 0, "or else this shows nothing"
    assert best["default_holds"] is best["preset_holds"] is False
    assert best["default"]["is_preset"]
    assert "search: gain over what jobs/train.py takes by the same options: recalibrated MSE better by +" in said
    assert "may do as well" not in said
    assert "the preset" not in said, "it is the default, and said once"


def test_a_search_whose_best_is_the_default_says_so(tmp_path, capsys):
    best, said = search_planted(tmp_path, {}, capsys)
    assert best["default_holds"] is True
    assert "the best setting predicts no differently on fresh seeds" in said


def test_a_search_on_few_clips_leaves_it_open(tmp_path, capsys):
    best, said = search_planted(tmp_path, {"learning_rate": 0.02}, capsys, rows=64)
    assert best["default_holds"] is None
    assert "is open: 16 clips: no interval under 20" in said


def test_a_search_measures_all_on_test(tmp_path, capsys):
    best, said = search_planted(tmp_path, {"learning_rate": 2e-2}, capsys, default=1e-3)
    test = best["test"]
    assert test["gain_over_default"]["estimate"] == pytest.approx(test["best"] - test["default"], abs=1e-6)
    training = TrainConfig(hidden=(8,), epochs=4, learning_rate=1e-2)
    data = planted_tiers(400, test=True)
    alone = run_trial(Variant("all", ("raw",), training=training), data, range(1_000, 1_004), torch.device("cpu"))
    assert test["preset"] == pytest.approx(alone.summary["test_spearman"], abs=1e-6)
    assert f"on test, which chose nothing: best {test['best']:.4f}, what jobs/train.py takes" in said


def find(folder, monkeypatch, record, **options):
    """The baselines of a search, where settings are chosen as `train` chooses them: here by one epoch more."""
    seen = []

    def choose(root, loaded, variant, settings, resources):
        seen.append((variant.training, settings.fit))
        return replace(variant.training, epochs=variant.training.epochs + 1)

    monkeypatch.setattr(search, "choose_training", choose)
    monkeypatch.setattr(search, "read_record", lambda _: record)
    study, variant = make_study(folder, 40)
    settings = TuneOptions(out=study.root.uri, **options)
    return search.find_baselines(study.root, study.loaded, variant, settings, ONE), seen


def test_the_default_is_what_train_takes_for_the_same_tiers(tmp_path, monkeypatch):
    baselines, seen = find(tmp_path, monkeypatch, None, epochs=7, fit="select")
    assert seen == [(replace(memento10k_training(), epochs=7), "select")]
    assert baselines == Baselines(PRESET_TRAINING, replace(memento10k_training(), epochs=8))


def test_the_default_on_the_authors_root_is_the_authors(tmp_path, monkeypatch):
    record = SimpleNamespace(dataset="videomem", settings={"preset": "authors"})
    _, seen = find(tmp_path, monkeypatch, record)
    assert seen == [(authors_training("videomem"), "auto")]
    _, seen = find(tmp_path, monkeypatch, record, preset="paper")
    assert seen == [(memento10k_training(), "auto")]


def test_a_search_is_known_by_what_decides_its_choice(tmp_path):
    study, variant = make_study(tmp_path, 40)

    def identify(baselines=BOTH, **options):
        return search._identify_search(study, variant, baselines, TuneOptions(out="x", **options))

    assert set(identify()) == {"data", "variant", "default", "seeds", "trials", "metric", "objective"}
    assert identify() == identify()
    assert identify() != identify(trials=9)
    assert identify() != identify(metric="mse")
    assert identify() != identify(Baselines(PRESET_TRAINING, PRESET_TRAINING))


def test_a_search_of_an_older_choice_is_refused_in_words(tmp_path):
    """It chose by Spearman alone, and measured no recalibrated error."""
    study, variant = make_study(tmp_path, 40)
    options = TuneOptions(out=study.root.uri, trials=2)
    asked = search._identify_search(study, variant, BOTH, options)
    older = {name: value for name, value in asked.items() if name not in ("objective", "default")}
    study.root.write_json(older, *study.folder, "search.json")
    with pytest.raises(ConfigError, match="begun with other default, objective: give this one another --name"):
        search.search_settings(study, variant, BOTH, options, ONE)
