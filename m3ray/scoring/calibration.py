"""The clips that a bundle's intervals are calibrated on: val, or by folds train where val chose something."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from m3ray.model.metrics import METRICS
from m3ray.scoring.intervals import IntervalRule, fit_intervals
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant
from m3ray.training.out_of_fold import FOLDS, cut_train

VAL = "val"
FEWEST_TRAIN_CLIPS = 25  # with fewer, a fifth says less of an error than val does


@dataclass(frozen=True)
class Calibration:
    """Scores of clips that did not train what scored them, and the truth.

    Args:
        scores: Scores by the ensemble, (n,), in the target's units.
        truth: True scores, (n,).
        source: What clips they are: `val`, or the train split and in how many folds.
        spread: Standard deviation of each score over the runs, (n,), float32; None: unknown, or there is one run.
    """

    scores: np.ndarray
    truth: np.ndarray
    source: str
    spread: np.ndarray | None = None

    @property
    def residuals(self) -> np.ndarray:
        """Absolute errors, ascending, (n,), float32."""
        return np.sort(np.abs(self.scores - self.truth)).astype(np.float32)

    def measure(self, weights: np.ndarray | None = None) -> dict[str, float | None]:
        """Measure the scores for `bundle.json`, with the variance of the truth beside their MSE.

        Args:
            weights: Weight of each clip, (n,), as the study's tables weigh them; None: all equal.
        Returns:
            Name to number; None where it is undefined.
        """
        error = np.asarray(self.scores, np.float64) - self.truth
        mean = float(np.average(self.truth, weights=weights))
        return {
            "val_spearman": correlate_ranks(self, weights),
            "val_mse": float(np.average(error**2, weights=weights)),
            "val_mean_error": float(np.average(error, weights=weights)),
            "val_variance": float(np.average((self.truth - mean) ** 2, weights=weights)),
        }

    def fit(self) -> IntervalRule:
        """Fit the intervals' rule."""
        return fit_intervals(self.scores, self.truth)


def correlate_ranks(calibration: Calibration, weights: np.ndarray | None = None) -> float | None:
    """Spearman's correlation of the scores with the truth.

    Args:
        calibration: Scores and truth.
        weights: Weight of each clip, (n,); None: all equal.
    Returns:
        The correlation; None, undefined, where either is constant.
    """
    rho = float(METRICS["spearman"](calibration.scores, calibration.truth, weights))
    return rho if np.isfinite(rho) else None


def needs_folds(study: Study, variant: Variant, *, chosen_on_val: bool) -> bool:
    """Whether val chose something of the model, so that its errors there are smaller than on new clips.

    Args:
        study: The study.
        variant: The variant: its epoch may be chosen on val, run by run.
        chosen_on_val: Whether its settings were.
    Returns:
        Whether it did, and the train split has clips enough to be cut into folds.
    """
    chosen = chosen_on_val or variant.training.report == "best"
    return chosen and len(study.data.train) >= FEWEST_TRAIN_CLIPS


def predict_train_by_folds(study: Study, variant: Variant) -> Calibration:
    """Score each fifth of the train split by the variant's runs trained on the other four.

    The features are scaled with the whole train split, and the similarity tier is the one fitted on it.

    Args:
        study: The study.
        variant: The variant, of which all settings stay; an epoch that val chose is the same in each fold.
    Returns:
        The scores of the train split. A run that diverged in a fold is left out there; where all did, those clips are.
    """
    data, variant = study.data, fix_epochs(study, variant)
    folds = cut_train(data, seed=study.seeds[0])
    scores = np.full(len(data.train), np.nan)
    for fold in range(FOLDS):
        out = folds == fold
        part = replace(data, train=data.train[~out], val=data.train[out], test=data.test[:0])
        val = run_trial(variant, part, study.seeds, torch.device("cpu"), cores=torch.get_num_threads()).trained.val
        finite = np.isfinite(val).all(axis=1)
        if finite.any():
            scores[out] = val[finite].mean(axis=0)
    known = np.isfinite(scores)
    return Calibration(scores[known], data.scores[data.train][known].astype(np.float64), f"train, {FOLDS} folds")


def fix_epochs(study: Study, variant: Variant) -> Variant:
    """The variant with the number of epochs that was best on val, where val chose the epoch; else as it is.

    Args:
        study: The study, which has trained it.
        variant: The variant.
    Returns:
        The variant, of which the last epoch's model is kept.
    """
    if variant.training.report != "best":
        return variant
    best = study.root.read_json(*study.trial_folder(variant), "trial.json").get("best_epoch")
    return replace(variant, training=replace(variant.training, report="last", epochs=best or variant.training.epochs))
