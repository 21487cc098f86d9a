"""What the MLP predicts of train clips that it did not see: which folds, how many runs, what they cost."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from trained_studies import train_study

from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.study import out_of_fold
from m3ray.pipelines.study.out_of_fold import (
    choose_cores,
    choose_seeds,
    estimate_trainings,
    join_folds,
    predict_in_fold,
    start_folds,
)
from m3ray.training.out_of_fold import cut_train
from m3ray.training.stacked import train_runs


def test_two_runs_a_fold_are_enough_and_one_is_all_that_there_may_be(tmp_path):
    study, _, _ = train_study(tmp_path, seeds=(4, 5, 6, 7))
    assert choose_seeds(study) == (4, 5)
    assert choose_seeds(replace(study, seeds=(4,))) == (4,)
    # 5 folds x 4/5 of the clips x 2 of 4 runs.
    assert estimate_trainings(study) == pytest.approx(2.0)
    assert estimate_trainings(replace(study, seeds=(4, 5))) == pytest.approx(4.0)


def test_each_clip_is_predicted_by_runs_that_trained_on_the_other_folds_alone(tmp_path):
    study, full, _ = train_study(tmp_path, seeds=(4, 5, 6))
    data, folds = study.data, cut_train(study.data, seed=4)
    kept = join_folds(study, {fold: predict_in_fold(study, full, fold, 1) for fold in range(5)})
    np.testing.assert_array_equal(kept.folds, folds)
    assert kept.predictions.shape == (2, len(data.train))
    assert np.isfinite(kept.predictions).all()
    assert kept.seconds > 0
    left_out = folds == 3
    x, y = torch.from_numpy(data.scaled[data.train]), torch.from_numpy(data.scores[data.train])
    own = train_runs((x[~left_out], y[~left_out]), (x[left_out], y[left_out]), full.training, (4, 5))
    np.testing.assert_allclose(kept.predictions[:, left_out], own.val, atol=1e-5)


@pytest.mark.parametrize(
    ("useful", "cpus", "most", "cores"),
    [
        (1, 2, 2, 1),  # a small network has no use for more
        (8, 2, 2, 2),  # 5 rounds of half the time, 2.5, against 3 rounds of one
        (8, 4, 4, 4),  # 5 rounds of a quarter, 1.25, against 2 of one, or 3 of a half
        (8, 16, 4, 3),  # 5 at once, a third each; 4 cores would be 2 rounds of a quarter
        (8, 16, 2, 2),  # no more than the smallest node has
    ],
)
def test_the_folds_share_the_cores_so_that_all_are_done_soonest(useful, cpus, most, cores):
    assert choose_cores(useful, cpus, most) == cores


def test_an_epoch_that_val_chose_is_the_same_in_each_fold_and_empty_folds_have_no_task(tmp_path, monkeypatch):
    study, full, _ = train_study(tmp_path)
    best = replace(full, training=replace(full.training, report="best", epochs=9))
    study.root.write_json({"best_epoch": 3}, *study.trial_folder(best), "trial.json")
    started = []

    class Task:
        def options(self, **resources):
            assert resources == {"num_cpus": 1, "max_retries": 2}, "no GPU, and no endless retries"
            return SimpleNamespace(remote=lambda *arguments: started.append(arguments) or len(started))

    monkeypatch.setattr(out_of_fold, "predict_fold_task", Task())
    monkeypatch.setattr(out_of_fold, "count_node_cores", lambda: 2)
    tasks = start_folds(study, "shared", best, Resources(2, 1))
    assert list(tasks.values()) == [0, 1, 2, 3, 4]
    assert {(v.training.report, v.training.epochs) for _, v, _, _ in started} == {("last", 3)}
    groups = replace(study.data, groups=np.arange(40) % 3)
    few = replace(study, loaded=replace(study.loaded, data=groups))
    assert len(start_folds(few, "shared", best, Resources(2, 1))) == 3, "three films make three folds"
