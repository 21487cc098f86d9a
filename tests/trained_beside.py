"""Regressors trained beside a study's MLP, and what that predicts out of fold, in this process."""

import numpy as np

from m3ray.study.regressor_results import OutOfFold
from m3ray.study.regressors import run_regressor
from m3ray.study.store import write_out_of_fold, write_regressor_trial
from m3ray.study.trial import select_columns
from m3ray.study.variants import regressor_variants
from m3ray.training.out_of_fold import FOLDS, cut_train, predict_fold


def train_beside(study, variant, names=("ridge",)):
    """Train some of the regressors; returns name to variant."""
    rows = {row.regressor: row for row in regressor_variants(variant) if row.regressor in names}
    for row in rows.values():
        write_regressor_trial(study, row, run_regressor(row, study.data, study.seeds))
    return rows


def plant(study, variant, noise=0.15):
    """Keep predictions out of fold as of an MLP that knows the truth, with errors of its runs' own."""
    truth = study.data.scores[study.data.train].astype(np.float64)
    errors = noise * np.random.default_rng(5).standard_normal((len(study.seeds), len(truth)))
    write_out_of_fold(study, variant, OutOfFold(truth + errors, cut_train(study.data, study.seeds[0])))


def hold_out(study, variant):
    """Train the MLP on all folds but one, and keep what it predicts of that one; returns the predictions, (R, T)."""
    folds, columns = cut_train(study.data, study.seeds[0]), select_columns(study.data.features, variant)
    predictions = np.full((len(study.seeds), len(folds)), np.nan)
    for fold in range(FOLDS):
        inside = folds == fold
        predictions[:, inside] = predict_fold(study.data, columns, variant.training, study.seeds, inside)
    write_out_of_fold(study, variant, OutOfFold(predictions, folds))
    return predictions
