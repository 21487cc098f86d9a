"""Whose training settings a variant gets: a file's, its own, or those that suit its tiers, chosen once for a root."""

import json
from dataclasses import replace

import numpy as np
import pytest
from trained_studies import train_study

from m3ray.config import TrainConfig, as_json
from m3ray.config.options import AblateOptions, TrainOptions, TuneOptions
from m3ray.config.presets import memento10k_training
from m3ray.features.matrix import Block, Features
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import model_selection
from m3ray.pipelines.study.model_selection import choose_training, describe_selection, select_each, select_once
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.variants import Variant
from m3ray.training.held_out import Curves

CLUSTER = Resources(1, 0)
TEXT = Variant("M3", ("text", "tags"))


class Scores:
    """Scores settings by their first layer and the number of columns, and notes how many settings were trained."""

    def __init__(self, better, columns=None):
        self.better, self.columns, self.trained = better, columns, 0

    def __call__(self, data, columns):
        self.columns = len(columns)
        return self.score

    def score(self, fits):
        self.trained += sum(len(fit.names) for fit in fits)
        return [[self._make_curves(config) for config in fit.configs] for fit in fits]

    def _make_curves(self, config):
        value = 0.6 if config.hidden == self.better[self.columns] else 0.4
        rho = np.linspace(value, value - 0.1, config.epochs)
        rho[min(2, config.epochs - 1)] = value + 0.1
        return Curves(rho, 1 - rho)


@pytest.fixture
def scores(monkeypatch):
    """Two tiers of text, 5 columns, want no hidden layer; raw and scene, 55, the paper's; raw alone, 15, one of 64."""
    scores = Scores({5: (), 55: (512, 64), 15: (64,)})
    monkeypatch.setattr(model_selection, "_score_on_cluster", scores)
    return scores


@pytest.fixture
def study(tmp_path, scores):
    """40 clips with two tiers of a user's beside raw and scene."""
    study, _, _ = train_study(tmp_path)
    for name in ("text", "tags"):
        update_tier_index(study.root, {name: TierEntry(f"{name}-1", identity={}, user_provided=True)})
    own = (Block("text", ("a", "b", "c"), True), Block("tags", ("d", "e"), True))
    values = np.random.default_rng(0).random((len(study.data.scores), 5)).astype(np.float32)
    features = study.data.features
    joined = Features(features.clip_ids, np.hstack([features.values, values]), (*features.blocks, *own))
    splits = np.full(len(values), "train", object)
    splits[study.data.val], splits[study.data.test] = "val", "test"
    data = study.data.make(joined, study.data.scores.astype(float), splits.tolist())
    return replace(study, loaded=replace(study.loaded, data=data))


def choose(study, variant=TEXT, kind=AblateOptions, **options):
    return choose_training(study.root, study.loaded, variant, kind(out=study.root.uri, **options), CLUSTER)


@pytest.mark.parametrize(
    ("tiers", "fit", "selects"),
    [
        (("raw", "scene"), "auto", False),
        (("raw", "scene"), "select", True),
        (("raw", "scene"), "each", True),
        (("text", "tags"), "auto", True),
        (("text", "raw"), "auto", False),
        (("text", "tags"), "paper", False),
    ],
)
def test_weak_tiers_of_users_are_selected_for_and_others_on_request(study, scores, tiers, fit, selects):
    variant = Variant("v", tiers)
    chosen = choose(study, variant, fit=fit)
    assert (scores.trained > 0) is selects
    assert (chosen != variant.training) is selects


def test_similarity_of_a_user_s_vectors_is_as_weak_as_they_are_and_alone_it_is_not_theirs(study):
    for tiers, expected in ((("text", "similarity"), True), (("similarity",), False)):
        options = AblateOptions(out=study.root.uri)
        assert model_selection._is_selected(study.root, Variant("v", tiers), options) is expected


def test_ablate_chooses_nothing_again_after_train(study, scores, capsys):
    """Another preset's loss, another order of the tiers: the same file, the same settings."""
    first = choose(study, replace(TEXT, training=memento10k_training(), tiers=("tags", "text")), TrainOptions)
    trained = scores.trained
    assert trained > 0
    capsys.readouterr()
    for kind in (AblateOptions, TrainOptions, TuneOptions):
        assert choose(study, kind=kind) == first
    assert scores.trained == trained
    out = capsys.readouterr().out
    assert out.count("settings as chosen before") == 3
    assert "artifacts/settings/" in out
    assert "linear" in out
    assert (first.hidden, first.epochs) == ((), 3)


def test_what_was_chosen_is_a_file_that_config_takes(study, tmp_path):
    chosen = choose(study)
    (path,) = (tmp_path).rglob("artifacts/settings/*.json")
    content = json.loads(path.read_text())
    assert (content["chosen_on"], content["made_by"], content["tiers"]) == ("train", "ablate", ["text", "tags"])
    assert choose(study, config=str(path), fit="paper") == chosen


@pytest.mark.parametrize("change", [{"loss": "mse"}, {"loss": "spearman"}])
def test_a_loss_that_was_asked_for_is_chosen_among_alone(study, scores, change):
    choose(study)
    trained = scores.trained
    assert choose(study, **change).loss == change["loss"]
    assert scores.trained > trained


def test_fewer_epochs_are_another_choice(study, scores):
    choose(study)
    trained = scores.trained
    assert choose(study, replace(TEXT, training=TrainConfig(epochs=2))).epochs <= 2
    assert scores.trained > trained


@pytest.mark.parametrize("damage", ["{", "[]", json.dumps({"training": {"lr": 1}})])
def test_a_damaged_choice_is_said_and_made_anew(study, scores, tmp_path, damage, capsys):
    chosen, trained = choose(study), scores.trained
    (path,) = tmp_path.rglob("artifacts/settings/*.json")
    path.write_text(damage)
    capsys.readouterr()
    assert choose(study) == chosen
    assert scores.trained == 2 * trained
    out = capsys.readouterr()
    assert "settings are chosen anew" in out.out + out.err
    assert choose(study) == chosen
    assert scores.trained == 2 * trained


def test_a_file_of_settings_is_taken_in_place_of_all_else(study, scores, tmp_path):
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"training": as_json(TrainConfig(hidden=(7,))), "chosen_on": "val"}))
    for kind in (AblateOptions, TrainOptions, TuneOptions):
        assert choose(study, kind=kind, config=str(path)).hidden == (7,)
    assert scores.trained == 0


def test_too_few_clips_to_hold_some_out_keep_the_paper_s_settings(study, scores, capsys):
    few = replace(study, loaded=replace(study.loaded, data=replace(study.data, train=study.data.train[:4])))
    assert choose(few) == TEXT.training
    assert scores.trained == 0
    assert "4 train clips are too few to choose settings on" in capsys.readouterr().out


def test_the_log_says_what_goes_on_and_what_was_chosen(study, capsys):
    select_once(study.root, study.data, TEXT, AblateOptions(out=study.root.uri), CLUSTER)
    out = capsys.readouterr().out
    assert "choosing among 21 settings" in out
    assert "for at most 2 times what training the paper's model takes" in out
    assert "s to go" in out
    (line,) = [line for line in out.splitlines() if line.endswith("<- chosen")]
    assert line.strip().startswith("linear, ")


def test_each_row_gets_the_settings_that_suit_it_and_keeps_them(study, scores, capsys):
    full = Variant("full", ("raw", "scene"))
    raw = replace(full, name="raw alone", tiers=("raw",), full="full")
    chosen = select_each(study, [full, raw, raw], CLUSTER)
    assert [(v.name, v.training.hidden, v.full) for v in chosen] == [
        ("full", (512, 64), None),
        ("raw alone", (64,), "full"),
    ]
    trained = scores.trained
    capsys.readouterr()
    assert select_each(study, [full, raw], CLUSTER) == chosen
    assert scores.trained == trained, "an earlier job's choice is kept"
    assert "choosing settings for each of 2 rows, 2 cached" in capsys.readouterr().out
    other = replace(study, loaded=replace(study.loaded, key="other clips"))
    select_each(other, [raw], CLUSTER)
    assert scores.trained > trained


def test_too_few_clips_leave_each_row_its_own_settings(study, capsys):
    few = replace(study.data, train=study.data.train[:8], groups=np.arange(40) // 4)
    study = replace(study, loaded=replace(study.loaded, data=few))
    assert select_each(study, [TEXT, TEXT], CLUSTER) == [TEXT]
    assert "8 train clips of 3 groups are too few to choose settings on" in capsys.readouterr().out


def describe(study, full=TEXT, **options):
    return describe_selection(study.root, study.data, full, AblateOptions(out=study.root.uri, **options))


def test_tables_say_whose_settings_their_rows_have_and_where_they_are(study):
    assert "artifacts/settings" not in describe(study)["settings"], "nothing was selected yet"
    choose(study)
    shared = describe(study)["settings"]
    assert shared.startswith(
        "Settings were selected for M3 and are shared by every row: a row that needs others may look worse than it "
        "could be."
    )
    assert "They are linear, " in shared
    assert "3 epochs (artifacts/settings/" in shared
    assert describe(study, fit="each") == {
        "settings": "Settings were selected for each row on its own, among the same candidates."
    }
    assert describe(study, fit="paper") == {}
    assert describe(study, Variant("v", ("raw", "scene"))) == {}


def test_a_choice_that_does_not_beat_the_paper_s_settings_is_doubted(study, scores, monkeypatch, capsys):
    flat = Curves(np.full(20, 0.5), np.full(20, 0.5))
    monkeypatch.setattr(scores, "_make_curves", lambda c: Curves(flat.spearman[: c.epochs], flat.mse[: c.epochs]))
    choose(study)
    printed = capsys.readouterr()
    words = "not better than the paper's on held-out clips by more than one standard error"
    assert words in describe(study)["settings"]
    assert words in printed.out + printed.err


@pytest.mark.parametrize(("chosen_on", "doubted"), [("val", True), ("train", False)])
def test_a_file_s_settings_are_named_and_those_chosen_on_val_doubted(study, tmp_path, chosen_on, doubted):
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"training": {}, "chosen_on": chosen_on}))
    note = describe(study, config=str(path))["settings"]
    assert "those of best.json (--config)" in note
    assert ("chosen on val, so values on val are optimistic" in note) is doubted
