"""A training's state on disk: it goes on to the same weights, and the files hold nothing that could run."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from small_finetuning import FAST, parameters, part, small_model, some_clips

from m3ray.config import TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.training.finetuning.checkpoint import load_state, save_state
from m3ray.training.finetuning.trainer import FinetuneTrainer

STEPS = 6


def training(config):
    return FinetuneTrainer(small_model(config), config, TrainConfig(loss="mse"), STEPS)


def steps(run, first, last):
    clips = some_clips()
    return [run.step([part(clips, range(k % 2, 8, 2))], 0.5) for k in range(first, last)]


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_training_goes_on_from_its_files_as_if_never_cut(tmp_path, average):
    config = FinetuneConfig(**{**vars(FAST), "ema": average})
    whole, cut, again = training(config), training(config), training(config)
    losses = steps(whole, 0, STEPS)
    assert steps(cut, 0, 3) == losses[:3]
    save_state(cut.state(), tmp_path)
    again.restore(load_state(tmp_path))
    assert steps(again, 3, STEPS) == losses[3:]
    assert torch.equal(parameters(again.ema_model), parameters(whole.ema_model))
    assert again.optimiser.param_groups[0]["lr"] == whole.optimiser.param_groups[0]["lr"]


def test_no_file_of_it_is_a_pickle_nor_an_archive_of_one(tmp_path):
    run = training(FAST)
    steps(run, 0, 1)
    save_state(run.state(), tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["state.json", "state.safetensors"]
    for path in tmp_path.iterdir():
        assert not zipfile.is_zipfile(path)
        with pytest.raises((pickle.UnpicklingError, ValueError, KeyError, IndexError, EOFError)):
            pickle.load(io.BytesIO(path.read_bytes()))


def test_a_planted_pickle_is_not_loaded(tmp_path):
    class Bad:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    save_state({"step": 1, "model": {"w": torch.ones(2)}}, tmp_path)
    for name in ("state.pt", "state.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(Bad()))
    assert load_state(tmp_path)["step"] == 1
    (tmp_path / "state.safetensors").write_bytes(pickle.dumps(Bad()))
    with pytest.raises(Exception, match="header"):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_values_come_back_as_they_were(tmp_path):
    state = {
        "a": {0: torch.tensor(3), 1: torch.ones(2, 3, dtype=torch.bfloat16)},
        "b": [1, 2.5, None, True, "x"],
        "c": {"nested": {7: 1e-300}, "none": {}},
        "e": float("inf"),
    }
    save_state(state, tmp_path)
    found = load_state(tmp_path)
    assert found["b"] == state["b"]
    assert found["c"] == state["c"]
    assert found["e"] == state["e"]
    assert found["a"][0].item() == 3
    assert found["a"][0].shape == ()
    assert torch.equal(found["a"][1], state["a"][1])


@pytest.mark.parametrize("value", [object(), {1.5: 1}, {"a": {b"k": 1}}, {"a": {2, 3}}])
def test_anything_but_plain_values_is_rejected(tmp_path, value):
    with pytest.raises(TypeError, match="a training's state h"):
        save_state({"x": value}, tmp_path)
