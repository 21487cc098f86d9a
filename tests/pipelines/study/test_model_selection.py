"""Whose training settings a variant gets: its own, or those that suit its tiers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from trained_studies import train_study

from m3ray.config import TrainConfig
from m3ray.config.options import AblateOptions, TrainOptions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import model_selection
from m3ray.pipelines.study.model_selection import (
    choose_training,
    describe_selection,
    select_each,
    select_training,
)
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.study.variants import Variant

CLUSTER = Resources(1, 0)
SELECTED = TrainConfig(hidden=(3,))


@pytest.fixture
def study(tmp_path, monkeypatch):
    study, _, _ = train_study(tmp_path)
    update_tier_index(study.root, {"text": TierEntry("text-1", identity={}, user_provided=True)})
    monkeypatch.setattr(model_selection, "select_training", lambda *_: SELECTED)
    return study


@pytest.mark.parametrize(
    ("tiers", "fit", "selects"),
    [
        (("raw", "scene"), "auto", False),
        (("raw", "scene"), "select", True),
        (("raw", "scene"), "each", True),
        (("text",), "auto", True),
        (("text", "similarity"), "auto", True),
        (("text", "raw"), "auto", False),
        (("similarity",), "auto", False),
        (("text",), "paper", False),
    ],
)
def test_weak_tiers_of_users_are_selected_for_and_others_on_request(study, tiers, fit, selects):
    variant = Variant("v", tiers)
    options = AblateOptions(out=study.root.uri, fit=fit)
    expected = SELECTED if selects else variant.training
    assert choose_training(study.root, study.loaded, variant, options, CLUSTER) == expected


def test_a_file_of_settings_is_not_overridden(study):
    variant = Variant("v", ("text",))
    options = TrainOptions(out=study.root.uri, config="settings.json")
    assert choose_training(study.root, study.loaded, variant, options, CLUSTER) == variant.training


def test_too_few_clips_to_hold_some_out_keep_the_paper_s_settings(tmp_path, capsys):
    study, variant, _ = train_study(tmp_path)
    few = replace(study.data, train=study.data.train[:4])
    assert select_training(few, variant, CLUSTER) == variant.training
    assert "4 train clips are too few to choose settings on" in capsys.readouterr().out


class Task:
    """Scores candidates by their first layer and the number of columns that a variant sees; the numbers are noted."""

    def __init__(self, scores):
        self.scores, self.seen = scores, []

    def options(self, **_resources):
        return self

    def remote(self, _data, columns, config, _seed):
        self.seen.append(len(columns))
        score = self.scores[config.hidden, len(columns)]
        return SimpleNamespace(best_spearman=score, best_config=replace(config, epochs=3))


@pytest.fixture
def candidates(monkeypatch):
    """Raw and scene, 55 columns, want the large layer, raw alone, 15, the small one."""
    configs = {"small": TrainConfig(hidden=(2,)), "large": TrainConfig(hidden=(9,))}
    task = Task({((2,), 55): 0.4, ((9,), 55): 0.7, ((2,), 15): 0.3, ((9,), 15): 0.1})
    monkeypatch.setattr(model_selection, "can_select", lambda _: True)
    monkeypatch.setattr(model_selection, "make_candidates", lambda _: configs)
    monkeypatch.setattr(model_selection, "_score_task", task)
    monkeypatch.setattr(model_selection.ray, "put", lambda value: value)
    monkeypatch.setattr(model_selection.ray, "get", lambda value: value)
    return task


def test_each_row_gets_the_settings_that_suit_it_and_keeps_them(tmp_path, candidates, capsys):
    study, variant, _ = train_study(tmp_path)
    raw = replace(variant, name="raw alone", tiers=("raw",), full=variant.name)
    chosen = select_each(study, [variant, raw, raw], CLUSTER)
    assert [(v.name, v.training.hidden, v.training.epochs) for v in chosen] == [
        (variant.name, (9,), 3),
        ("raw alone", (2,), 3),
    ]
    assert candidates.seen == [55, 55, 15, 15]
    assert [v.full for v in chosen] == [variant.full, variant.name]
    capsys.readouterr()
    assert select_each(study, [variant, raw], CLUSTER) == chosen
    assert candidates.seen == [55, 55, 15, 15], "an earlier job's choice is kept"
    assert "choosing settings for each of 2 rows, 2 cached" in capsys.readouterr().out
    other = replace(study, loaded=replace(study.loaded, key="other clips"))
    select_each(other, [raw], CLUSTER)
    assert candidates.seen == [55, 55, 15, 15, 15, 15]


def test_too_few_clips_leave_each_row_its_own_settings(tmp_path, capsys):
    study, variant, _ = train_study(tmp_path)
    few = replace(study.data, train=study.data.train[:8], groups=np.arange(40) // 4)
    study = replace(study, loaded=replace(study.loaded, data=few))
    assert select_each(study, [variant, variant], CLUSTER) == [variant]
    assert "8 train clips of 3 groups are too few to choose settings on" in capsys.readouterr().out


def test_tables_say_whose_settings_their_rows_have(tmp_path):
    study, variant, _ = train_study(tmp_path)

    def describe(fit, data=study.data):
        options = AblateOptions(out=study.root.uri, fit=fit)
        return describe_selection(study.root, data, replace(variant, name="M3-S"), options)

    shared = describe("select")["settings"]
    assert shared.startswith(
        "Settings were selected for M3-S and are shared by every row: a row that needs others may look worse than it "
        "could be."
    )
    assert describe("each") == {
        "settings": "Settings were selected for each row on its own, among the same candidates."
    }
    assert describe("paper") == describe("auto") == {}
    assert describe("select", replace(study.data, train=study.data.train[:4])) == {}, "nothing could be selected"


def test_the_best_candidate_s_settings_are_selected(tmp_path, candidates, capsys):
    study, variant, _ = train_study(tmp_path)
    assert select_training(study.data, variant, CLUSTER) == TrainConfig(hidden=(9,), epochs=3)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "<- chosen" in line]
    assert line.split()[:4] == ["large", "held-out", "spearman", "0.7000"]
