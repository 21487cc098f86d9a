"""The settings to choose among, and what they are taken to cost."""

from dataclasses import replace

import pytest

from m3ray.config import TrainConfig
from m3ray.config.presets import ablation_training, memento10k_training
from m3ray.training.candidates import (
    PRESET,
    Scope,
    estimate_cost,
    estimate_plain,
    is_preset,
    make_candidates,
    simplicity,
)


def test_train_and_ablate_choose_among_the_same_whatever_their_presets_losses():
    train, ablate = (Scope.around(t, None) for t in (memento10k_training(), ablation_training()))
    assert make_candidates(500, train) == make_candidates(500, ablate) == make_candidates(500)


def test_the_paper_s_settings_are_the_first_with_each_loss():
    names = list(make_candidates(500))
    assert names[:2] == [f"{PRESET}, mse", f"{PRESET}, mse_tails"]
    assert [is_preset(name) for name in names[:3]] == [True, True, False]
    candidates = make_candidates(500)
    assert candidates[names[0]] == ablation_training()
    assert candidates[names[1]] == memento10k_training()


def test_they_reach_from_a_ridge_for_thousands_of_weak_columns_to_the_paper_s_layers():
    """A ridge of alpha 24,000, about the best for 2,000 clips of 3,000 weak columns, has decay 1.5."""
    candidates = make_candidates(2000).values()
    assert max(c.weight_decay for c in candidates if not c.hidden) * 8 * 2000 >= 24_000
    assert {c.hidden for c in candidates} == {(), (64,), (512, 64)}


@pytest.mark.parametrize("loss", ["mse", "spearman"])
def test_a_loss_and_epochs_that_were_asked_for_are_all_candidates_own(loss):
    scope = Scope.around(TrainConfig(loss="mse", epochs=7), loss)
    assert {(c.loss, c.epochs) for c in make_candidates(500, scope).values()} == {(loss, 7)}


def test_other_numbers_of_a_preset_stay():
    base = replace(ablation_training(), strength=1.0, report="best", tails_centre="data")
    candidates = make_candidates(500, Scope.around(base, None)).values()
    assert {(c.strength, c.report) for c in candidates} == {(1.0, "best")}


def test_the_simplest_has_fewest_parameters_then_strongest_decay_then_fewest_epochs():
    one = TrainConfig(hidden=(), weight_decay=1e-2, epochs=5)
    order = [replace(one, weight_decay=1.0, epochs=9), one, replace(one, epochs=6), replace(one, hidden=(1,))]
    shuffled = [order[k] for k in (2, 0, 3, 1)]
    assert sorted(shuffled, key=lambda config: simplicity(config, 10)) == order


def test_a_plain_training_costs_four_runs_and_small_models_cost_little():
    """Measured for 7,000 clips of 3,635 numbers: 57 s for the paper's, 5 s for four linear runs."""
    assert estimate_plain(3635, 7000) == pytest.approx(4 * estimate_cost([TrainConfig()], 3635, 7000))
    linear = estimate_cost([TrainConfig(hidden=())] * 4, 3635, 7000)
    assert 0.02 < linear / estimate_plain(3635, 7000) < 0.15
