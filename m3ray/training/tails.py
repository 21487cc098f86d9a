"""How unlike mse_tails weighs the scores that it is trained on, in words."""

from __future__ import annotations

import numpy as np
import torch

from m3ray.config import TrainConfig
from m3ray.model.losses import tail_weights

# Weights that span less than this are nearly the plain MSE's.
_NEARLY_PLAIN = 0.1


def span_tail_weights(
    scores: np.ndarray, config: TrainConfig, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Find the smallest and the largest weight that mse_tails gives a train split.

    Args:
        scores: Scores of the train split, as the model is trained on them, (N,).
        config: Settings of the training.
        weights: Weight of each clip, (N,); None: all weigh the same.
    Returns:
        Both weights, of mean 1 over the split, around its mean; those of a batch differ a little.
    """
    values = torch.tensor(np.asarray(scores, np.float64))
    centre = np.average(scores, weights=weights)
    counts = None if weights is None else torch.tensor(np.asarray(weights, np.float64))
    tails = tail_weights(values, config.tails_gain, config.tails_power, float(centre), counts)
    return float(tails.min()), float(tails.max())


def describe_tails(scores: np.ndarray, config: TrainConfig, weights: np.ndarray | None = None) -> str | None:
    """Say it where mse_tails is nearly the plain MSE.

    Args:
        scores: Scores of the train split, as the model is trained on them, (N,).
        config: Settings of the training.
        weights: Weight of each clip, (N,); None: all weigh the same.
    Returns:
        A sentence; None where the loss is another one, or weighs the scores unlike by a tenth or more.
    """
    if config.loss != "mse_tails":
        return None
    low, high = span_tail_weights(scores, config, weights)
    if high - low >= _NEARLY_PLAIN:
        return None
    return (
        f"mse_tails with gain {config.tails_gain:g} and power {config.tails_power:g} weighs these scores {low:.4f} to "
        f"{high:.4f}: nearly the plain mse"
    )
