"""Whose training settings a variant gets: its own, or those that suit its tiers."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from trained_studies import train_study

from m3ray.config import TrainConfig
from m3ray.config.options import AblateOptions, TrainOptions
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import model_selection
from m3ray.pipelines.study.model_selection import choose_training, select_training
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


def test_the_best_candidate_s_settings_are_selected(tmp_path, monkeypatch, capsys):
    study, variant, _ = train_study(tmp_path)
    configs = {"small": TrainConfig(hidden=(2,)), "large": TrainConfig(hidden=(9,))}
    scores = {(2,): 0.4, (9,): 0.7}

    class Task:
        def options(self, **_resources):
            return self

        def remote(self, _data, columns, config, _seed):
            assert len(columns) == 55
            return SimpleNamespace(best_spearman=scores[config.hidden], best_config=replace(config, epochs=3))

    monkeypatch.setattr(model_selection, "can_select", lambda _: True)
    monkeypatch.setattr(model_selection, "make_candidates", lambda _: configs)
    monkeypatch.setattr(model_selection, "_score_task", Task())
    monkeypatch.setattr(model_selection.ray, "put", lambda value: value)
    monkeypatch.setattr(model_selection.ray, "get", lambda value: value)
    assert select_training(study.data, variant, CLUSTER) == TrainConfig(hidden=(9,), epochs=3)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "<- chosen" in line]
    assert line.split()[:4] == ["large", "held-out", "spearman", "0.7000"]
