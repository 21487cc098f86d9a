"""Predictions of clips by models that did not train on them: the train split cut into folds, each left out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.training.own_units import make_split
from m3ray.training.stacked import train_runs

FOLDS = 5


def cut_folds(groups: np.ndarray | None, clips: int, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Cut clips into folds of about one size; clips of one source stay together.

    Args:
        groups: Number of each clip's source, (T,); None: each is its own.
        clips: Number of clips, T.
        seed: Seed of the cut.
        folds: Number of folds.
    Returns:
        Fold of each clip, 0 to folds - 1, (T,), int64.
    """
    names, place = np.unique(np.arange(clips) if groups is None else groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % folds)[place]


def cut_train(data: StudyData, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Cut the train split of a study into folds.

    Args:
        data: The study's data, T train clips.
        seed: Seed of the cut.
        folds: Number of folds.
    Returns:
        Fold of each train clip, 0 to folds - 1, (T,), int64.
    """
    return cut_folds(None if data.groups is None else data.groups[data.train], len(data.train), seed, folds)


def predict_fold(
    data: StudyData,
    columns: np.ndarray,
    config: TrainConfig,
    seeds: Sequence[int],
    left_out: np.ndarray,
    cores: int | None = None,
) -> np.ndarray:
    """Train runs on the train split without some clips, and predict those.

    Args:
        data: The study's data, T train clips.
        columns: Positions of the matrix' columns that the model sees.
        config: Settings of the training; the last epoch's model predicts, whatever epoch it reports.
        seeds: Seed of each run.
        left_out: Which train clips are left out, bool, (T,).
        cores: Cores of a CPU to train on; None: PyTorch's threads as they are.
    Returns:
        Outputs in [0, 1] of each run for the clips left out, (R, number of them), float64.
    """
    matrix = torch.from_numpy(np.ascontiguousarray(data.scaled[:, columns]))
    fit, rest = (make_split(matrix, data, data.train[part]) for part in (~left_out, left_out))
    return train_runs(fit, rest, replace(config, report="last"), seeds, cores=cores).val
