"""Settings chosen on held-out parts of the train split, on data whose strength is known."""

from dataclasses import replace

import numpy as np
import pytest

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.training.model_selection import Candidate, best_candidate, can_select, make_candidates, score_candidate

BASE = TrainConfig(hidden=(64, 16), epochs=12)


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
