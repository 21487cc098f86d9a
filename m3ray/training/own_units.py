"""Between a study's scores, in the target's own units, and what a model is trained on, in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from m3ray.features.dataset import StudyData
from m3ray.features.target import Target
from m3ray.training.stacked import OnEpoch, Split, TrainedRuns

# Metric to the power of the map's width that its values grow by; rank correlations stay.
_POWERS = {"mse": 2, "calibrated_mse": 2, "mae": 1}


def make_split(matrix: Tensor, data: StudyData, rows: np.ndarray) -> Split:
    """Features, scores as a model is trained on them, and weights of some clips.

    Args:
        matrix: Columns that the model sees, (N, F), on the device to train on.
        data: Scores, weights and target of the N clips.
        rows: Rows of the clips.
    Returns:
        Features (n, F), scores (n,), and weights (n,) where clips weigh unlike, on the matrix' device.
    """
    features = matrix[torch.tensor(rows).to(matrix.device)]
    # Indexing copies: the object store's arrays are read-only.
    scores = torch.from_numpy(data.target.to_unit(data.scores[rows])).to(matrix.device)
    if data.weights is None:
        return features, scores
    return features, scores, torch.from_numpy(data.weights[rows]).to(matrix.device)


def in_own_units(trained: TrainedRuns, target: Target) -> TrainedRuns:
    """Give predictions and errors of trained runs in the target's units; the training's loss stays the model's.

    Args:
        trained: The trained runs, as the model has them.
        target: Target of the study.
    Returns:
        The runs; the same ones where the target is not mapped.
    """
    if not target.is_mapped:
        return trained
    return replace(trained, val=target.from_unit(trained.val), metrics=dict(_scale(trained.metrics, target)))


def report_in_own_units(on_epoch: OnEpoch | None, target: Target) -> OnEpoch | None:
    """Make a report of an epoch's metrics be in the target's units.

    Args:
        on_epoch: Function that is called after each epoch; None: nothing is.
        target: Target of the study.
    Returns:
        The function to call instead.
    """
    if on_epoch is None or not target.is_mapped:
        return on_epoch
    return lambda epoch, metrics: on_epoch(epoch, _scale(metrics, target))


def _scale(metrics: Mapping[str, np.ndarray], target: Target) -> Mapping[str, np.ndarray]:
    return {name: values * target.span ** _POWERS.get(name, 0) for name, values in metrics.items()}
