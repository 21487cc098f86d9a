"""The similarity tier fitted anew on the vectors of networks that are being trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from m3ray.config import SimilarityConfig
from m3ray.errors import ConfigError
from m3ray.similarity.fitted import FittedSimilarity, label_matrix
from m3ray.tiers.finetuned import FINETUNED_PREFIX


@dataclass(frozen=True)
class SimilarityRefit:
    """A similarity measure fitted on the vectors of networks in training, and what it gives.

    Args:
        fitted: The measure, over `tuned:scene` and `tuned:event`.
        rows: Similarity of all clips, z-scored with the train split's statistics, (N, d), float32.
        mean: Mean of each column over the train split, (d,), float32.
        deviation: Standard deviation of each column over the train split, (d,), float32; 1 where a column is constant.
    """

    fitted: FittedSimilarity
    rows: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def refit_similarity(
    config: SimilarityConfig,
    vectors: Mapping[str, np.ndarray],
    train: np.ndarray,
    labels: Sequence[Sequence[str]],
) -> SimilarityRefit:
    """Fit the measure on the train split's vectors and apply it to all clips; train clips leave themselves out.

    Args:
        config: Settings of the similarity tier.
        vectors: Network to the vectors of all clips, (N, D).
        train: Rows of the train split, int64.
        labels: Labels of each train clip.
    Returns:
        The fitted measure and the similarity of all clips.
    """
    parts = {f"{FINETUNED_PREFIX}{name}": values.astype(np.float64) for name, values in vectors.items()}
    matrix, names = label_matrix(labels)
    fitted = FittedSimilarity.fit(config, {k: v[train] for k, v in parts.items()}, matrix if names else None, names)
    rows = fitted.transform(parts)
    rows[train] = fitted.transform_train()
    mean, deviation = rows[train].mean(axis=0), rows[train].std(axis=0)
    deviation = np.where(deviation > 1e-8 * np.maximum(np.abs(mean), 1e-8), deviation, 1.0)
    scaled = ((rows - mean) / deviation).astype(np.float32)
    return SimilarityRefit(fitted, scaled, mean.astype(np.float32), deviation.astype(np.float32))


def check_refittable(config: SimilarityConfig, width: int, networks: Sequence[str]) -> None:
    """Check that each fit of the similarity tier gives the columns that the MLP has inputs for.

    Args:
        config: Settings of the similarity tier.
        width: Number of columns that the tier has now.
        networks: Networks that are trained, of `scene` and `event`.
    Raises:
        ConfigError: If the number of columns may change, or the tier compares vectors that are not trained.
    """
    if config.measure == "dbscan":
        raise ConfigError(
            "--finetune.refit-similarity: dbscan finds another number of clusters each time, and the model's inputs "
            "would change with it: choose a measure of fixed width, --measure fractional_mean for instance"
        )
    if not width or set(config.sources) - set(networks):
        raise ConfigError(
            f"--finetune.refit-similarity: similarity compares {', '.join(config.sources)}; the networks trained are "
            f"{', '.join(networks)}: extract and train both"
        )
