"""Predictions of train clips by models that did not see them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.training.out_of_fold import cut_folds, cut_train, predict_fold

CONFIG = TrainConfig(hidden=(), epochs=3, batch=8)


def make_data(clips: int = 60) -> StudyData:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(clips, 3)).astype(np.float32)
    block = Block("own", ("a", "b", "c"), True)
    features = Features(tuple(map(str, range(clips))), values, (block,))
    scores = 1 / (1 + np.exp(-values[:, 0]))
    return StudyData.make(features, scores, ["train"] * (clips - 10) + ["val"] * 10)


def test_folds_are_of_one_size_and_drawn_by_the_seed():
    folds = cut_folds(None, 52, seed=3)
    assert sorted(np.bincount(folds)) == [10, 10, 10, 11, 11]
    assert (folds == cut_folds(None, 52, seed=3)).all()
    assert (folds != cut_folds(None, 52, seed=4)).any()


def test_clips_of_one_source_are_in_one_fold():
    groups = np.repeat(np.arange(20), 3)
    folds = cut_folds(groups, 60, seed=0)
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))


def test_the_train_split_alone_is_cut():
    data = make_data()
    assert len(cut_train(data, seed=0)) == len(data.train) == 50


def test_what_is_left_out_changes_no_prediction_of_it():
    data = make_data()
    columns, left_out = np.arange(3), cut_train(data, seed=0) == 1
    before = predict_fold(data, columns, CONFIG, [0, 1], left_out)
    scores = data.scores.copy()
    scores[data.train[left_out]] = 1 - scores[data.train[left_out]]
    after = predict_fold(replace(data, scores=scores), columns, CONFIG, [0, 1], left_out)
    assert before.shape == (2, left_out.sum())
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("report", ["last", "best"])
def test_the_last_epoch_predicts_whatever_is_reported(report: str):
    # The clips left out would choose their own epoch otherwise.
    data = make_data()
    left_out = cut_train(data, seed=0) == 0
    config = replace(CONFIG, report=report)
    last = predict_fold(data, np.arange(3), CONFIG, [0], left_out)
    np.testing.assert_array_equal(predict_fold(data, np.arange(3), config, [0], left_out), last)
