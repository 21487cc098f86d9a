"""Settings chosen on held-out parts of the train split, on data whose strength is known."""

from dataclasses import replace

import numpy as np
import pytest

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.features.target import Target
from m3ray.training.model_selection import (
    FOLDS,
    SPLITS,
    Candidate,
    best_candidate,
    can_select,
    hold_out,
    make_candidates,
    score_candidate,
)

BASE = TrainConfig(hidden=(64, 16), epochs=12)
LINEAR = TrainConfig(hidden=(), epochs=8, learning_rate=1e-2)


def study(function, rows=500, columns=20, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    signal = function(values)
    scores = 0.5 + 0.1 * signal / signal.std() + noise * rng.standard_normal(rows)
    block = Block("text", tuple(f"text_{k}" for k in range(columns)), True, (columns,))
    features = Features(tuple(map(str, range(rows))), values, (block,))
    return StudyData.make(features, scores.clip(0, 1), ["train"] * (rows - 100) + ["val"] * 100)


def found(data, names):
    columns = np.arange(data.scaled.shape[1])
    return {name: score_candidate(data, columns, make_candidates(BASE)[name], 0) for name in names}


def test_a_bent_signal_is_not_given_to_a_linear_model():
    """The score follows products of columns, which no linear model ranks."""
    data = study(lambda x: x[:, 0] * x[:, 1] + x[:, 2] ** 2, rows=1000, columns=3)
    assert best_candidate(found(data, ["as given", "linear, fast"])) == "as given"


def test_a_weak_linear_signal_among_many_columns_is():
    data = study(lambda x: x @ np.linspace(1, 0.1, x.shape[1]), rows=400, columns=60, noise=0.15)
    assert best_candidate(found(data, ["as given", "linear, fast, strong decay"])).startswith("linear")


def test_val_is_never_looked_at():
    data = study(lambda x: x[:, 0])
    changed = replace(data, scores=np.where(np.isin(np.arange(500), data.val), 0.0, data.scores).astype(np.float32))
    one, two = (score_candidate(d, np.arange(20), BASE, 0).curve for d in (data, changed))
    np.testing.assert_array_equal(one, two)


def test_the_best_epoch_is_where_training_will_stop():
    candidate = Candidate(BASE, np.array([0.1, 0.5, 0.3]))
    assert (candidate.best_spearman, candidate.best_config.epochs) == (0.5, 2)
    assert candidate.best_config.hidden == BASE.hidden


@pytest.mark.parametrize(("rows", "enough"), [(110, False), (130, True)])
def test_too_few_clips_are_not_parted(rows, enough):
    assert can_select(study(lambda x: x[:, 0], rows=rows)) is enough


def test_parts_are_those_of_earlier_releases_where_there_are_no_groups():
    data = study(lambda x: x[:, 0], rows=200)
    order = np.random.default_rng(3).permutation(data.train)
    for part, expected in zip(hold_out(data, 3), [order[0::5], order[1::5], order[2::5]], strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_held_out_as_a_whole(seed):
    data = study(lambda x: x[:, 0], rows=500)
    groups = np.random.default_rng(seed).integers(0, 40, 500)
    parts = hold_out(replace(data, groups=groups), seed)
    assert len(parts) == SPLITS
    for part in parts:
        rest = np.setdiff1d(data.train, part)
        assert not set(groups[part]) & set(groups[rest])
        assert 400 / FOLDS - 15 < len(part) < 400 / FOLDS + 15, "groups have ten train clips, give or take"


def test_groups_that_features_name_are_no_reason_for_a_large_model():
    """A score that is its group's: parted groups are recognised again, whole ones cannot be."""
    generator = np.random.default_rng(0)
    number = np.repeat(np.arange(100), 5)
    values = generator.standard_normal((100, 40))[number].astype(np.float32)
    block = Block("text", tuple(f"text_{k}" for k in range(40)), True, (40,))
    features = Features(tuple(map(str, range(500))), values, (block,))
    data = StudyData.make(features, generator.random(100)[number], ["train"] * 400 + ["val"] * 100)
    config = TrainConfig(hidden=(64,), epochs=8, learning_rate=1e-2)
    apart, whole = (score_candidate(d, np.arange(40), config, 0) for d in (data, replace(data, groups=number)))
    assert apart.curve[-1] > 0.8
    assert abs(whole.curve[-1]) < 0.4, "of 16 groups a part, three parts: a deviation of 0.15"


@pytest.mark.parametrize(("groups", "enough"), [(4, False), (5, True)])
def test_fewer_groups_than_parts_are_not_parted(groups, enough):
    data = study(lambda x: x[:, 0], rows=200)
    assert can_select(replace(data, groups=np.arange(200) % groups)) is enough


def test_clips_without_weight_have_no_part_in_a_choice():
    """Half the train clips have turned scores: with weight 0 they neither teach nor judge."""
    data = study(lambda x: x[:, 0], columns=3)
    odd = np.arange(500) % 2 == 1
    turned = replace(data, scores=np.where(odd, 1 - data.scores, data.scores).astype(np.float32))
    weights = np.where(odd, 0, 2).astype(np.float32)
    plain, weighted = (
        score_candidate(d, np.arange(3), LINEAR, 0).best_spearman for d in (turned, replace(turned, weights=weights))
    )
    assert weighted > 0.6
    assert abs(plain) < 0.3


def test_a_target_of_other_units_is_mapped_for_the_model():
    data = study(lambda x: x[:, 0], rows=160, columns=3)
    wide = replace(data, scores=data.scores * 10 - 5, target=Target("d_prime", -5.0, 5.0))
    config = TrainConfig(hidden=(8,), epochs=3)
    one, two = (score_candidate(d, np.arange(3), config, 0).curve for d in (data, wide))
    np.testing.assert_allclose(one, two, atol=2e-3)
