"""What a search is compared with: the preset and what its user has without it, tried first and to the last epoch."""

from dataclasses import replace

from m3ray.config import TrainConfig
from m3ray.study.search_baselines import DEFAULT, DRAWN, PRESET, Baselines
from m3ray.study.search_history import is_inside
from m3ray.study.search_space import SPACE, point_from_training

PAPER = TrainConfig()
OWN = TrainConfig(hidden=(), weight_decay=3e-2, epochs=7, loss="mse_tails", tails_centre="data")


def test_the_preset_is_tried_first_and_the_default_second():
    baselines = Baselines(PAPER, OWN)
    assert baselines.first_points() == [point_from_training(PAPER), point_from_training(OWN)]
    assert [name for name, _ in baselines.named()] == [DEFAULT, PRESET]
    assert baselines.epochs == PAPER.epochs
    assert Baselines(PAPER, replace(OWN, epochs=33)).epochs == 33


def test_a_baseline_s_settings_are_its_own_to_the_last():
    """Epochs and the tails' centre are no part of a point."""
    baselines = Baselines(PAPER, OWN)
    first, second = baselines.first_points()
    drawn = {**first, "gamma": 0.77}
    assert [baselines.origin_of(point) for point in (first, second, drawn)] == [PRESET, DEFAULT, DRAWN]
    assert baselines.training_of(first) == PAPER
    assert baselines.training_of(second) == OWN
    assert baselines.training_of(drawn) == replace(PAPER, gamma=0.77)


def test_one_setting_is_said_once():
    baselines = Baselines(PAPER, PAPER)
    assert baselines.are_alike
    assert [name for name, _ in baselines.named()] == [DEFAULT]
    assert baselines.first_points() == [point_from_training(PAPER)]
    assert baselines.origin_of(point_from_training(PAPER)) == DEFAULT


def test_a_default_that_differs_beyond_its_point_is_not_tried_as_the_preset():
    """Fewer epochs of the paper's settings: the point is the preset's, and the row of its name has its own settings."""
    baselines = Baselines(PAPER, replace(PAPER, epochs=4))
    (point,) = baselines.first_points()
    assert baselines.origin_of(point) == PRESET
    assert baselines.training_of(point) == PAPER
    assert baselines.training_of(point, DEFAULT).epochs == 4


def test_the_space_takes_in_both():
    far = replace(OWN, hidden=(32,), weight_decay=0.5)
    baselines = Baselines(PAPER, far)
    assert not is_inside(point_from_training(far), SPACE)
    assert all(is_inside(point, baselines.space) for point in baselines.first_points())
    assert len(baselines.first_points()) == 2


def test_what_no_space_takes_in_is_not_tried_and_yet_compared():
    baselines = Baselines(PAPER, replace(OWN, weight_decay=0.0))
    assert baselines.first_points() == [point_from_training(PAPER)]
    assert [name for name, _ in baselines.named()] == [DEFAULT, PRESET]
