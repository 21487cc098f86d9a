"""What intervals are calibrated on: val, or the train split by folds where val chose something."""

from dataclasses import replace

import numpy as np
import pytest
from trained_studies import train_study

from m3ray.scoring import calibration as calibration_module
from m3ray.scoring.calibration import (
    Calibration,
    correlate_ranks,
    cut_train,
    fix_epochs,
    needs_folds,
    predict_train_by_folds,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study, variant, _ = train_study(tmp_path_factory.mktemp("study"))
    return study, variant


def with_report(variant, report):
    return replace(variant, training=replace(variant.training, report=report))


def test_val_serves_unless_it_chose_the_settings_or_the_epoch(trained):
    study, variant = trained
    assert not needs_folds(study, variant, chosen_on_val=False)
    assert needs_folds(study, variant, chosen_on_val=True)
    assert needs_folds(study, with_report(variant, "best"), chosen_on_val=False)


def test_no_clip_is_scored_by_a_model_that_was_trained_on_it(trained, monkeypatch):
    study, variant = trained
    seen = []
    real = calibration_module.run_trial

    def record(variant, data, seeds, device, **options):
        seen.append((set(data.train.tolist()), set(data.val.tolist()), len(data.test)))
        return real(variant, data, seeds, device, **options)

    monkeypatch.setattr(calibration_module, "run_trial", record)
    got = predict_train_by_folds(study, variant)
    train = set(study.data.train.tolist())
    assert len(seen) == 5
    for part, out, test in seen:
        assert part | out == train
        assert (len(part & out), test) == (0, 0)
    assert set().union(*(out for _, out, _ in seen)) == train
    assert got.source == "train, 5 folds"
    np.testing.assert_allclose(got.truth, study.data.scores[study.data.train])
    assert np.isfinite(got.scores).all()
    np.testing.assert_allclose(got.residuals, np.sort(np.abs(got.scores - got.truth)), atol=1e-7)


def test_clips_of_one_source_are_not_parted(trained):
    study, _ = trained
    data = replace(study.data, groups=np.arange(40) // 4)
    folds = cut_train(data, seed=0)
    assert all(len(set(folds[data.groups[data.train] == group])) == 1 for group in range(10))
    assert set(folds) == set(range(5))
    sizes = np.bincount(cut_train(study.data, seed=0))
    assert sizes.tolist() == [6] * 5


def test_an_epoch_that_val_chose_is_the_same_in_each_fold(trained):
    study, variant = trained
    assert fix_epochs(study, variant) is variant
    best = with_report(variant, "best")
    study.root.write_json({"best_epoch": 1}, *study.trial_folder(best), "trial.json")
    training = fix_epochs(study, best).training
    assert (training.report, training.epochs) == ("last", 1)


def test_a_rank_correlation_of_what_does_not_vary_is_undefined():
    assert correlate_ranks(Calibration(np.ones(5), np.arange(5.0), "val")) is None
    assert correlate_ranks(Calibration(np.arange(5.0), np.arange(5.0) ** 2, "val")) == pytest.approx(1)
