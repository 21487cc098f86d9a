import json

import pytest

from m3ray.config import TrainConfig, as_json
from m3ray.errors import ConfigError
from m3ray.storage.root import Root
from m3ray.training.config_file import load_training, parse_training, read_tiers, was_chosen_on_val


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"training": s, "metric": "spearman"}])
def test_settings_survive_a_file(tmp_path, wrap):
    settings = TrainConfig(hidden=(128, 32), loss="spearman", learning_rate=3e-4, batch=64)
    assert load_training(write(tmp_path / "best.json", wrap(as_json(settings)))) == settings


def test_what_a_file_leaves_out_is_the_default(tmp_path):
    assert load_training(write(tmp_path / "a.json", {"epochs": 3})) == TrainConfig(epochs=3)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "is not JSON"),
        ([1], "expected an object"),
        ({"lr": 1}, "unknown setting lr; there are hidden, loss"),
        ({"loss": "mae"}, "loss is 'mae', expected one of mse"),
        ({"hidden": "64"}, "expected a list of widths"),
        ({"hidden": [64, "x"]}, "expected a list of widths"),
        ({"batch": 3.5}, "batch is 3.5, expected an integer"),
        ({"gamma": "high"}, "gamma is 'high', expected a finite number"),
    ],
)
def test_bad_settings_are_named(tmp_path, value, words):
    with pytest.raises(ConfigError, match=words):
        load_training(write(tmp_path / "bad.json", value))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_training(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"training": {}, "chosen_on": "val"}, True),
        ({"training": {}, "note": "chosen on val, so optimistic; fresh_seeds had no part in the choice"}, True),
        ({"training": {}, "chosen_on": "train folds"}, False),
        ({"epochs": 3}, False),
        ([1], False),
    ],
)
def test_a_search_s_file_says_that_val_chose(tmp_path, content, expected):
    """As `jobs/tune.py` writes it; older ones say it in their note alone."""
    assert was_chosen_on_val(write(tmp_path / "best.json", content)) is expected
    assert was_chosen_on_val(None) is False


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"epochs": -3},
        {"epochs": float("nan")},
        {"epochs": 1e400},
        {"batch": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": -1},
        {"learning_rate": float("inf")},
        {"weight_decay": -1},
        {"step_size": 0},
        {"hidden": [True]},
    ],
)
def test_what_no_training_can_have_is_named(settings: dict):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"{name} is .*, expected"):
        parse_training(settings, "best.json")


def test_the_tiers_that_settings_were_chosen_for_are_read(tmp_path):
    Root(str(tmp_path)).write_json({"training": {}, "tiers": ["text", "raw"]}, "best.json")
    Root(str(tmp_path)).write_json({"training": {}}, "own.json")
    assert read_tiers(str(tmp_path / "best.json")) == ("text", "raw")
    assert read_tiers(str(tmp_path / "own.json")) is None
