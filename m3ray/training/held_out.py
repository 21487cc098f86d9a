"""Scores of training settings on clips held out of their training, after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.model import StackedMLP
from m3ray.model.metrics import spearman
from m3ray.tiers.precision import float32_precision
from m3ray.training.optimiser import make_optimiser
from m3ray.training.own_units import make_split
from m3ray.training.stacked import Split, TrainingEpochs, mean_score, predict, shuffle_epochs

WORST = -1.0


@dataclass(frozen=True)
class Curves:
    """How well settings do on a held-out part of the clips, after each epoch.

    Args:
        spearman: Rank correlation with the scores, (E,); not a number where it is undefined.
        mse: Mean squared error after a linear recalibration, in the scores' variance, (E,): 1 is a constant's.
    """

    spearman: np.ndarray
    mse: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """What is chosen by: (rho + 1 - MSE / variance) / 2, (E,); -1 where outputs are no numbers.

        Both terms are at most 1 and 0 for a model that knows nothing, so that neither ranks alone nor distances alone
        decide. A constant, which has no rank correlation, knows nothing.
        """
        rho = np.nan_to_num(self.spearman, nan=0.0)
        return np.where(np.isfinite(self.mse), (rho + 1 - self.mse) / 2, WORST)


def score_held_out(
    data: StudyData, columns: np.ndarray, configs: Sequence[TrainConfig], seed: int, held_out: np.ndarray
) -> list[Curves]:
    """Train settings as one model on a part of the train split, and score each on the rest after each epoch.

    Args:
        data: Data of the study, of which only the train rows are used.
        columns: Positions of the columns that the model sees.
        configs: Settings that can be stacked: of one `stacking_key`.
        seed: Seed of the run of each.
        held_out: Which train clips are held out, bool, (T,).
    Returns:
        The curves of each.
    """
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled[:, columns]))
    fit, rest = (make_split(matrix, data, data.train[part]) for part in (~held_out, held_out))
    by_epoch = _predict_by_epoch(fit, rest, configs, [seed] * len(configs))
    truth = rest[1].double().numpy()
    weights = None if data.weights is None else data.weights[data.train[held_out]].astype(float)
    rho, mse = spearman(by_epoch, truth, weights), recalibrated_mse(by_epoch, truth, weights)
    return [Curves(rho[:, k], mse[:, k]) for k in range(len(configs))]


def _predict_by_epoch(fit: Split, rest: Split, configs: Sequence[TrainConfig], seeds: Sequence[int]) -> np.ndarray:
    """Predictions for the rest after each epoch, (E, R, n); the training is that of `train_runs`."""
    config = configs[0]
    model = StackedMLP(fit[0].shape[1], config.hidden, seeds).to(fit[0])
    if config.start == "mean":
        model.start_at(mean_score(fit))
    optimiser = make_optimiser(model, configs)
    epochs = TrainingEpochs(model, optimiser, fit, configs, shuffle_epochs(seeds, len(fit[0]), config.epochs))
    predictions = []
    with float32_precision():
        for epoch in range(config.epochs):
            epochs.train(epoch / max(1, config.epochs - 1))
            optimiser.end_epoch(epoch)
            predictions.append(predict(model, rest[0]))
    optimiser.close()
    return np.stack(predictions)


def recalibrated_mse(predictions: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean squared error after a linear recalibration that each clip had no part in, over the scores' variance.

    A line is fitted to all clips but one, which it then predicts, for each in turn: its residual is e / (1 - h), with e
    the residual of the line through all and h the clip's leverage (PRESS, Allen 1974). A falling line is none: the
    scores' mean takes its place, so that a model that ranks the wrong way round gains nothing.

    Args:
        predictions: Outputs of a model, (..., n).
        truth: Scores, (n,), not all equal.
        weights: Weight of each clip, (n,); None: all equal.
    Returns:
        Error over the variance, (...): 0 is perfect, about 1 what a constant reaches.
    """
    share = np.full(len(truth), 1 / len(truth)) if weights is None else weights / weights.sum()
    y = truth - share @ truth
    x = predictions - (predictions @ share)[..., None]
    spread = (x**2) @ share
    usable = spread > 1e-12
    slope = np.where(usable, np.maximum((x * y) @ share, 0) / np.where(usable, spread, 1), 0)
    used = (slope > 0)[..., None]
    leverage = share * (1 + np.where(used, x**2 / np.where(usable, spread, 1)[..., None], 0))
    residual = (y - slope[..., None] * x) / np.maximum(1 - leverage, 1e-3)
    return (residual**2) @ share / ((y**2) @ share)
