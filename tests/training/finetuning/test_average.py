"""The moving average of a model's weights."""

import numpy as np
import torch
from small_finetuning import FAST, parameters, small_model
from torch import nn

from m3ray.model import MLP
from m3ray.training.finetuning.average import MovingAverage
from m3ray.training.finetuning.model import FinetuneModel


def test_the_first_weights_are_the_average_and_later_ones_are_taken_in():
    models = [small_model(seed=k) for k in range(3)]
    average = MovingAverage(models[0], 0.75)
    for model in models:
        average.update_parameters(model)
    first, second, third = map(parameters, models)
    expected = 0.75 * (0.75 * first + 0.25 * second) + 0.25 * third
    torch.testing.assert_close(parameters(average.module), expected)


def test_statistics_are_averaged_and_counters_and_positions_are_not():
    """PyTorch's own cuts 735 x 0.9 + 735 x 0.1 to 734: the average would read another column."""
    columns = np.arange(15, 2783)
    model = FinetuneModel({"scene": nn.BatchNorm2d(3)}, MLP(2788, (4,)), {"scene": columns}, FAST)
    average = MovingAverage(model, 0.9)
    norm = model.networks["scene"]
    assert isinstance(norm, nn.BatchNorm2d)
    for step in range(3):
        norm.running_mean.fill_(step)
        norm.num_batches_tracked += 1
        average.update_parameters(model)
    np.testing.assert_array_equal(average.module.columns_scene, columns)
    assert average.module.networks["scene"].num_batches_tracked == 3
    torch.testing.assert_close(average.module.networks["scene"].running_mean, torch.full((3,), 0.1 * 0.9 + 0.1 * 2))


def test_its_state_is_named_as_in_earlier_checkpoints():
    state = MovingAverage(small_model(), 0.9).state_dict()
    assert "n_averaged" in state
    assert {name.removeprefix("module.") for name in state} - {"n_averaged"} == set(small_model().state_dict())


def test_the_first_update_copies_the_weights_whatever_the_average_was_made_of():
    made_of, first = small_model(seed=0), small_model(seed=1)
    average = MovingAverage(made_of, 0.75)
    average.update_parameters(first)
    torch.testing.assert_close(parameters(average.module), parameters(first), rtol=0, atol=0)
