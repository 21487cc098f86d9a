"""The similarity tier fitted anew on the vectors of networks that are being trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from m3ray.config import SimilarityConfig
from m3ray.errors import ConfigError
from m3ray.similarity.fitted import FittedSimilarity, label_matrix

PREFIX = "tuned:"


@dataclass(frozen=True)
class Refit:
    """What a refit gives.

    Args:
        fitted: the measure, on `tuned:scene` and `tuned:event`.
        rows: of all clips, z-scored with the train split's statistics, (N, d), float32.
        mean: of the train split, (d,).
        deviation: likewise; 1 where a column is constant.
    """

    fitted: FittedSimilarity
    rows: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def refit(
    config: SimilarityConfig,
    vectors: Mapping[str, np.ndarray],
    train: np.ndarray,
    labels: Sequence[Sequence[str]],
) -> Refit:
    """Fits the measure on the train split's vectors and applies it to all clips.

    Args:
        config: of the similarity tier.
        vectors: network to (N, D), of all clips.
        train: rows of the train split; leave-one-out, as always.
        labels: of each train clip.
    """
    parts = {f"{PREFIX}{name}": values.astype(np.float64) for name, values in vectors.items()}
    matrix, names = label_matrix(labels)
    fitted = FittedSimilarity.fit(config, {k: v[train] for k, v in parts.items()}, matrix if names else None, names)
    rows = fitted.transform(parts)
    rows[train] = fitted.transform_train()
    mean, deviation = rows[train].mean(axis=0), rows[train].std(axis=0)
    deviation = np.where(deviation > 1e-8 * np.maximum(np.abs(mean), 1e-8), deviation, 1.0)
    scaled = ((rows - mean) / deviation).astype(np.float32)
    return Refit(fitted, scaled, mean.astype(np.float32), deviation.astype(np.float32))


def check_refittable(config: SimilarityConfig, width: int, networks: Sequence[str]) -> None:
    """Raises ConfigError where each fit may have another number of columns, which the MLP cannot follow.

    Args:
        config: of the similarity tier.
        width: columns that it has now.
        networks: that are trained.
    """
    if config.measure == "dbscan":
        raise ConfigError(
            "--full.refit-similarity: dbscan finds another number of clusters each time, and the model's inputs would "
            "change with it: choose a measure of fixed width, --measure fractional_mean for instance"
        )
    if not width or set(config.sources) - set(networks):
        raise ConfigError(
            f"--full.refit-similarity: similarity compares {', '.join(config.sources)}; the networks trained are "
            f"{', '.join(networks)}: extract and train both"
        )
