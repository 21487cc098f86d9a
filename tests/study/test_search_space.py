"""Points of the search's space and training settings."""

import pytest
from optuna.distributions import FloatDistribution

from m3ray.config import TrainConfig
from m3ray.study.search_history import is_inside
from m3ray.study.search_space import LOGARITHMIC, SPACE, point_from_training, training_from_point, widen_space


def test_the_preset_is_a_point_of_the_search_s_space():
    point = point_from_training(TrainConfig())
    assert all(SPACE[name]._contains(SPACE[name].to_internal_repr(value)) for name, value in point.items())
    assert training_from_point(point, TrainConfig(epochs=3)) == TrainConfig(epochs=3)
    assert training_from_point({**point, "hidden": "512x256x64", "batch": 64.0}, TrainConfig()).hidden == (512, 256, 64)


@pytest.mark.parametrize("hidden", [(64,), (128, 32), (512, 256, 64)])
def test_every_listed_width_is_there_and_back(hidden):
    training = TrainConfig(hidden=hidden, loss="spearman", learning_rate=3e-4, batch=64, step_size=7)
    point = point_from_training(training)
    assert point["hidden"] in SPACE["hidden"].choices  # type: ignore[attr-defined]
    assert training_from_point(point, TrainConfig()) == training


def test_a_point_of_weighted_tails_centres_them_as_the_preset_does():
    point = point_from_training(TrainConfig(loss="mse_tails"))
    assert training_from_point(point, TrainConfig()).tails_centre == "data"
    assert training_from_point(point | {"loss": "mse"}, TrainConfig()) == TrainConfig()


def test_numbers_of_another_kind_get_the_setting_s():
    """Optuna hands out floats where Tune's table has read them from JSON."""
    point = point_from_training(TrainConfig()) | {"step_size": 3.0, "batch": 64.0}
    training = training_from_point(point, TrainConfig())
    assert (training.step_size, training.batch) == (3, 64)
    assert isinstance(training.step_size, int)


def test_decades_are_drawn_evenly_where_a_setting_spans_them():
    assert set(LOGARITHMIC) == {"learning_rate", "weight_decay", "strength"}
    assert all(isinstance(SPACE[name], FloatDistribution) for name in LOGARITHMIC)


def test_a_linear_model_is_a_point():
    training = TrainConfig(hidden=(), weight_decay=3e-2, start="mean")
    point = point_from_training(training)
    assert point["hidden"] == "linear"
    assert is_inside(point, SPACE), "with the decay of a strong ridge"
    assert training_from_point(point, TrainConfig()) == training, "decay pulls it to the mean, as a ridge's does"


def test_a_space_takes_in_what_is_given():
    far = TrainConfig(hidden=(7, 5), learning_rate=0.5, weight_decay=0.4, step_size=40, batch=9, gamma=0.05)
    point = point_from_training(far)
    assert not is_inside(point, SPACE)
    space = widen_space([point_from_training(TrainConfig()), point])
    assert is_inside(point, space)
    assert training_from_point(point, TrainConfig()) == far
    assert space["loss"] == SPACE["loss"]
    assert space["learning_rate"] == FloatDistribution(1e-4, 0.5, log=True)


def test_nothing_widens_for_what_lies_inside():
    assert widen_space([point_from_training(TrainConfig())]) == SPACE


def test_no_decay_at_all_has_no_logarithm():
    point = point_from_training(TrainConfig(weight_decay=0.0))
    space = widen_space([point])
    assert space == SPACE
    assert not is_inside(point, space)
