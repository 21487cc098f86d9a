"""Warnings in the log of jobs that train."""

import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from trained_studies import train_study

from m3ray.pipelines.study.cautions import log_bundle_cautions, log_study_cautions, log_training_cautions
from m3ray.study.store import collect_trials
from m3ray.study.table_list import MeasureNotes, TableList, write_table_list
from m3ray.study.variants import full_model, regressor_variants


def calibrated(calibration):
    """What a warning needs of a bundle."""
    metadata = SimpleNamespace(calibrated_on="train, 5 folds")
    return SimpleNamespace(name="m3s", metadata=metadata, calibration=calibration)


def warnings_in(caplog):
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A study of 40 clips, of which 10 are val."""
    study, variant, _ = train_study(tmp_path_factory.mktemp("study"))
    collect_trials(study, [variant])
    write_table_list(TableList({3: (variant.name,)}, MeasureNotes(None, variant.name)), study.root, study.folder)
    return study


def test_a_study_s_warnings_are_logged_once_each(trained, caplog):
    log_study_cautions(trained)
    said = warnings_in(caplog)
    assert sum("val has 10 clips" in line for line in said) == 1
    assert len(said) == len(set(said))


def test_a_training_is_told_of_too_few_val_clips(trained, caplog):
    log_training_cautions(trained, [full_model(trained.data.features.tiers)], pd.DataFrame({"variant": []}))
    assert ["val has 10 clips" in line for line in warnings_in(caplog)] == [True]


def test_a_training_is_told_of_a_regressor_that_is_better(trained, caplog):
    full = full_model(trained.data.features.tiers)
    ridge = next(row for row in regressor_variants(full) if row.regressor == "ridge")
    numbers = {"spearman": 0.7, "delta_spearman": 0.1, "delta_low": 0.05, "delta_high": 0.15, "delta_p": 0.001}
    parts = {
        "delta_df": 50.0,
        "delta_seed_variance": 1e-4,
        "delta_clip_variance": 4e-4,
        "delta_interaction_variance": 0.0,
    }
    trials = pd.DataFrame([{"variant": ridge.name, "full": full.name, "delta_reason": "", **numbers, **parts}])
    log_training_cautions(trained, [full, ridge], trials)
    assert any("is beaten beyond noise by ridge, all tiers" in line for line in warnings_in(caplog))


def test_a_bundle_is_told_what_its_scores_are_worth(caplog):
    truth = np.linspace(0.6, 1.0, 200)
    log_bundle_cautions(calibrated(np.stack([truth, truth])))
    log_bundle_cautions(calibrated(None))
    assert warnings_in(caplog) == []
    log_bundle_cautions(calibrated(np.stack([np.linspace(0.494, 0.505, 200), truth])))
    said = warnings_in(caplog)
    assert len(said) == 3
    assert all(line.startswith("bundle m3s: ") for line in said)
    assert "on train, 5 folds" in said[0]
