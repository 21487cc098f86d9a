"""What was selected as a file: the same schema as a search's, and a name that says what it depends on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_studies import make_study

from m3ray.config import TrainConfig
from m3ray.errors import ConfigError
from m3ray.training.config_file import load_training, was_chosen_on_val
from m3ray.training.contenders import Candidate
from m3ray.training.held_out import Curves
from m3ray.training.model_selection import Selection
from m3ray.training.settings_file import describe_choice, identify_selection, list_candidates, read_choice

CONFIGS = {"the paper's, mse": TrainConfig(hidden=(4,), epochs=2), "linear": TrainConfig(hidden=(), epochs=2)}


def make_selection(linear=0.6, rho=0.5):
    curves = {
        "the paper's, mse": [Curves(np.array([rho, rho]), np.array([0.5, 0.5]))] * 2,
        "linear": [Curves(np.array([0.1, value]), np.array([0.9, 1 - value])) for value in (linear, linear + 0.01)],
    }
    candidates = {n: Candidate(n, CONFIGS[n], {(0, k): c for k, c in enumerate(curves[n])}) for n in CONFIGS}
    return Selection("linear", candidates, 22, "the paper's, mse", 1.5, 12.0)


def test_it_is_what_config_takes_and_says_that_val_had_no_part(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(describe_choice(make_selection(), ("text",), "train"), allow_nan=False))
    assert load_training(str(path)) == TrainConfig(hidden=(), epochs=2)
    assert was_chosen_on_val(str(path)) is False


def test_it_says_what_was_chosen_among_what_and_at_which_cost():
    content = describe_choice(make_selection(), ("text",), "train")
    assert (content["tiers"], content["made_by"], content["tried"]) == (["text"], "train", 22)
    assert content["cost"] == {"plain_trainings": 1.5, "seconds": 12.0}
    assert [(row["name"], row["epochs"], row["chosen"]) for row in content["chosen_among"]] == [
        ("the paper's, mse", 1, False),
        ("linear", 2, True),
    ]
    assert content["beats_preset"] is True
    assert content["gain_over_preset"]["score"] == pytest.approx(0.605 - 0.5)


def test_what_is_undefined_is_null():
    """Where the paper's settings rank nothing there is no correlation, and half of the explained variance counts."""
    content = describe_choice(make_selection(rho=np.nan), ("text",), "train")
    assert content["chosen_among"][0]["spearman"] is None
    assert content["chosen_among"][0]["score"] == pytest.approx((0 + 1 - 0.5) / 2)


def test_a_choice_that_does_not_beat_the_preset_says_so():
    content = describe_choice(make_selection(linear=0.4), ("text",), "train")
    assert content["beats_preset"] is False
    assert read_choice(content, "a.json").beats_preset is False


@pytest.mark.parametrize("content", [[1], {}, {"training": 3}, {"training": {"lr": 1}}])
def test_a_file_without_settings_is_named(content):
    with pytest.raises(ConfigError, match=r"a\.json"):
        read_choice(content, "a.json")


def test_the_name_depends_on_the_train_rows_and_the_candidates_alone():
    data, columns = make_study(lambda x: x[:, 0], rows=200), np.arange(20)
    name = identify_selection(data, columns, CONFIGS)
    scores = data.scores.copy()
    scores[data.val] = 0.5
    assert identify_selection(replace(data, scores=scores), columns, CONFIGS) == name
    scores[data.train[0]] = 0.5
    others = [
        identify_selection(replace(data, scores=scores), columns, CONFIGS),
        identify_selection(data, columns[:-1], CONFIGS),
        identify_selection(data, columns, {"linear": CONFIGS["linear"]}),
        identify_selection(replace(data, groups=np.arange(200)), columns, CONFIGS),
        identify_selection(replace(data, weights=np.ones(200, np.float32)), columns, CONFIGS),
        identify_selection(replace(data, train=data.train[1:]), columns, CONFIGS),
    ]
    assert len({name, *others}) == 7


def test_the_log_s_table_marks_the_chosen_one():
    lines = list_candidates(make_selection()).splitlines()
    assert [line.endswith("<- chosen") for line in lines] == [False, False, True]
    assert "0.6050" in lines[2]
