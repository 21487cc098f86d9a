"""What workers are given and measure."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from m3ray.config import TrainConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.tiers.backbones import fill_untrained_, hrnetv2_w48
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning import spec as specs
from m3ray.training.finetuning.sampler import ClipSampler, plan_step
from m3ray.training.finetuning.spec import FinetuneSpec, StepClock, TrainingHistory, build_model


def make_spec(head, **changes):
    values = {
        "training": TrainConfig(),
        "config": FinetuneConfig(epochs=3),
        "sources": {"scene": WeightSource(None, None, seed=4)},
        "network": "ip",
        "head": {name: value.numpy() for name, value in head.state_dict().items()},
        "hidden": (4,),
        "columns": {"scene": np.arange(1, 721)},
        "matrix": np.zeros((10, 721), np.float32),
        "scores": np.linspace(0, 1, 10, dtype=np.float32),
        "train": np.arange(7),
        "evaluated": np.arange(7, 10),
        "val": 2,
        "sampler": ClipSampler(7, 4, 0),
        "layout": plan_step(4, 1, 2),
    }
    return FinetuneSpec(**{**values, **changes})


def test_steps_are_those_of_all_epochs():
    assert make_spec(MLP(721, (4,))).steps == 3 * 2


def test_the_model_starts_from_the_head_and_the_weights_that_it_is_given():
    torch.manual_seed(0)
    head = MLP(721, (4,))
    model = build_model(make_spec(head))
    for name, value in head.state_dict().items():
        assert torch.equal(model.head.state_dict()[name], value)
    expected = fill_untrained_(hrnetv2_w48(), 4).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.networks["scene"].state_dict().items())


def test_an_epoch_s_loss_is_the_mean_of_its_steps():
    history = TrainingHistory(running=[0.3, 0.1])
    metrics = {"spearman": 0.5, "mse": 0.1, "mae": 0.2, "kendall": 0.4}
    history.close_epoch(metrics)
    history.close_epoch(metrics)
    assert history.train_loss[0] == pytest.approx(0.2)
    assert math.isnan(history.train_loss[1]), "an epoch of no step has no loss"
    assert (history.metrics["mse"], history.running) == ([0.1, 0.1], [])


def test_a_history_goes_on_from_the_keys_of_earlier_checkpoints():
    text = (
        '{"train_loss": [0.1], "metrics": {"spearman": [0.5]}, "stopped": "", "waiting": 0.25, '
        '"seconds_a_step": 1.5, "running": [0.2]}'
    )
    history = TrainingHistory(**json.loads(text))
    assert json.dumps(asdict(history)) == text


class Watch:
    """A clock that moves when it is told."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def watch(monkeypatch):
    clock = Watch()
    monkeypatch.setattr(specs, "time", clock)
    return clock


def test_steps_are_timed_and_the_first_wait_is_left_out(watch):
    def stream():
        for wait in (9.0, 1.0, 2.0):
            watch.now += wait
            yield wait

    clock = StepClock()
    for _ in clock.time_steps(stream()):
        watch.now += 3.0
    assert clock.waits == [1.0, 2.0]
    assert clock.step_seconds == [4.0, 5.0]
    assert clock.waiting_share() == pytest.approx(3 / 9)


def test_no_step_has_waited_for_nothing():
    assert StepClock().waiting_share() == 0


def test_the_time_since_a_checkpoint_begins_anew(watch):
    clock = StepClock()
    watch.now += 7
    assert clock.seconds_since_checkpoint() == 7
    clock.mark_checkpoint()
    assert clock.seconds_since_checkpoint() == 0
