"""Settings chosen on held-out parts of the train split, on data whose strength is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_studies import make_study
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV

from m3ray.config import TrainConfig
from m3ray.features.matrix import Block, Features
from m3ray.training.candidates import PRESET, make_candidates
from m3ray.training.halving import Fit, Rung
from m3ray.training.held_out import Curves
from m3ray.training.model_selection import can_select, score_fit, select_settings
from m3ray.training.out_of_fold import cut_train
from m3ray.training.own_units import make_split
from m3ray.training.stacked import train_runs

SMALL = {
    f"{PRESET}, mse": TrainConfig(hidden=(64, 16), epochs=10),
    "linear, weak": TrainConfig(hidden=(), epochs=10, learning_rate=1e-2, start="mean"),
    "linear, strong": TrainConfig(hidden=(), epochs=10, learning_rate=1e-2, weight_decay=0.1, start="mean"),
}
RUNGS = (Rung(((0, 0),), 1.0, np.inf), Rung(((0, 1), (0, 2), (0, 3)), 1.0, np.inf))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def select(data, candidates=SMALL, rungs=RUNGS):
    return select_settings(data, np.arange(data.scaled.shape[1]), candidates, rungs=rungs)


def test_a_bent_signal_is_not_given_to_a_linear_model():
    """The score follows products of columns, which no linear model ranks."""
    data = make_study(lambda x: x[:, 0] * x[:, 1] + x[:, 2] ** 2, rows=1000, columns=3)
    selection = select(data)
    assert selection.training.hidden == (64, 16)
    assert selection.chosen == selection.preset


def test_a_weak_linear_signal_among_many_columns_is():
    data = make_study(lambda x: x @ np.linspace(1, 0.1, x.shape[1]), rows=400, columns=60, noise=0.15)
    selection = select(data)
    assert selection.training.hidden == ()
    gain, error = selection.gain
    assert gain > error
    assert selection.beats_preset is True


def test_many_weak_columns_reach_a_ridge():
    """As many columns as clips, the signal spread over all: scikit-learn's ridge, its penalty by leave-one-out."""

    def spread(x):
        return x @ np.random.default_rng(1).standard_normal(x.shape[1])

    data = make_study(spread, rows=2600, columns=600, noise=0.1, val=2000)
    candidates = {n: c for n, c in make_candidates(600).items() if not c.hidden or n == f"{PRESET}, mse"}
    selection = select_settings(data, np.arange(600), candidates)
    matrix = torch.from_numpy(data.scaled)
    train, val = (make_split(matrix, data, rows) for rows in (data.train, data.val))
    ours = train_runs(train, val, selection.training, range(4)).val.mean(axis=0)
    ridge = RidgeCV(np.logspace(1, 6, 21)).fit(data.scaled[data.train], data.scores[data.train])
    reached, peer = (spearmanr(p, data.scores[data.val])[0] for p in (ours, ridge.predict(data.scaled[data.val])))
    assert reached > peer - 0.015, f"{reached:.3f} beside the ridge's {peer:.3f}: {selection.chosen}"
    assert peer > 0.3, "there is something to be found"


def test_val_is_never_looked_at():
    data = make_study(lambda x: x[:, 0])
    changed = replace(data, scores=np.where(np.isin(np.arange(500), data.val), 0.0, data.scores).astype(np.float32))
    one, two = (select(d) for d in (data, changed))
    assert one.training == two.training
    np.testing.assert_array_equal(one.candidates[one.chosen].score, two.candidates[two.chosen].score)


def test_the_same_is_chosen_again():
    data = make_study(lambda x: x[:, 0] * x[:, 1], rows=300, columns=10, noise=0.1)
    assert select(data).training == select(data).training


def test_what_scores_may_be_handed_in_and_decides():
    """With (rho + R^2) / 2 known: the first part lies, the three after it tell the linear model from the others."""

    def score(fits):
        return [[_flat(0.7 if (f.fold == 0) != (n == "linear, weak") else 0.5) for n in f.names] for f in fits]

    def _flat(value):
        return Curves(np.full(10, value), np.full(10, 1 - value))

    data = make_study(lambda x: x[:, 0])
    selection = select_settings(data, np.arange(20), SMALL, score=score, rungs=RUNGS)
    assert selection.chosen == "linear, weak"
    assert selection.gain == (pytest.approx(0.2), pytest.approx(0, abs=1e-12))
    assert selection.training.epochs == 1, "of equal epochs the first"
    assert selection.tried == 3


def test_without_the_paper_s_settings_nothing_is_compared_with_them():
    data = make_study(lambda x: x[:, 0], rows=200, columns=3)
    selection = select(data, {name: SMALL[name] for name in ("linear, weak", "linear, strong")})
    assert (selection.preset, selection.gain, selection.beats_preset) == (None, None, None)


@pytest.mark.parametrize(("rows", "enough"), [(110, False), (130, True)])
def test_too_few_clips_are_not_parted(rows, enough):
    assert can_select(make_study(lambda x: x[:, 0], rows=rows)) is enough


@pytest.mark.parametrize(("groups", "enough"), [(4, False), (5, True)])
def test_fewer_groups_than_parts_are_not_parted(groups, enough):
    data = make_study(lambda x: x[:, 0], rows=200)
    assert can_select(replace(data, groups=np.arange(200) % groups)) is enough


def test_groups_that_features_name_are_no_reason_for_a_large_model():
    """A score that is its group's: parted groups are recognised again, whole ones cannot be."""
    generator = np.random.default_rng(0)
    number = np.repeat(np.arange(100), 5)
    values = generator.standard_normal((100, 40))[number].astype(np.float32)
    block = Block("text", tuple(f"text_{k}" for k in range(40)), True, (40,))
    features = Features(tuple(map(str, range(500))), values, (block,))
    data = make_study(lambda x: x[:, 0], columns=40)
    data = data.make(features, generator.random(100)[number], ["train"] * 400 + ["val"] * 100)
    config = TrainConfig(hidden=(64,), epochs=8, learning_rate=1e-2)
    fit = Fit(("net",), (config,), 0, 0)
    apart, whole = (score_fit(d, np.arange(40), 0, fit)[0].spearman[-1] for d in (data, replace(data, groups=number)))
    assert apart > 0.8
    assert abs(whole) < 0.5, "of 16 groups: a deviation of 0.25"


def test_a_second_cut_is_another_one():
    data = make_study(lambda x: x[:, 0])
    parts = [cut_train(data, seed) for seed in (0, 1)]
    fits = [Fit(("linear",), (SMALL["linear, weak"],), cut, 0) for cut in (0, 1)]
    curves = [score_fit(data, np.arange(20), 0, fit)[0].spearman for fit in fits]
    assert (parts[0] != parts[1]).any()
    assert not np.array_equal(*curves)
