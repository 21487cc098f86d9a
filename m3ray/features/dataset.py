"""Training data: the matrix scaled with the train split's statistics, the scores and the splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from m3ray.errors import StudyError
from m3ray.features.matrix import Block, Features


def _whole_vectors(blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Start and width of each vector that is scaled as a whole."""
    start = 0
    for block in blocks:
        inside = start
        for width in block.vectors:
            yield inside, width
            inside += width
        start += len(block.names)


@dataclass(frozen=True)
class Scaling:
    """Standardisation with the train split's statistics: (x - mean) / deviation, column by column.

    Args:
        mean: Mean of each column, (F,), float32; 0 where a column is not scaled.
        deviation: Standard deviation of each column, (F,), float32; 1 where a column is not scaled or constant.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, features: Features, train: np.ndarray) -> Scaling:
        """Compute the statistics of the train split.

        Args:
            features: Matrix of all clips.
            train: Rows of the train split.
        Returns:
            The scaling; a vector that is scaled as a whole has one deviation.
        """
        scaled = np.concatenate([np.full(len(b.names), b.scaled) for b in features.blocks])
        rows = features.values[train].astype(np.float64)
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        for start, width in _whole_vectors(features.blocks):
            deviation[start : start + width] = np.sqrt(np.mean(deviation[start : start + width] ** 2))
        usable = scaled & (deviation > 1e-8 * np.maximum(np.abs(mean), 1e-8))
        return cls(np.where(scaled, mean, 0).astype(np.float32), np.where(usable, deviation, 1).astype(np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scale rows of a matrix, (N, F) to (N, F)."""
        return (values - self.mean) / self.deviation


@dataclass(frozen=True)
class StudyData:
    """Data that all trials of a study share.

    Args:
        features: Matrix of N clips as their tiers have it.
        scaled: Matrix scaled with the train split's statistics, (N, F), float32.
        scores: Scores in [0, 1], (N,), float32; not a number where a clip has none.
        train: Rows of the train split with a score, int64.
        val: Rows of the val split with a score, int64.
        test: Rows of the test split with a score, int64; may be empty.
        scaling: Scaling of the matrix.
    """

    features: Features
    scaled: np.ndarray
    scores: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    scaling: Scaling

    @classmethod
    def make(cls, features: Features, scores: np.ndarray, splits: Sequence[str]) -> StudyData:
        """Scale a matrix and find the rows of each split.

        Args:
            features: Matrix of N clips.
            scores: Scores in [0, 1], (N,); not a number where a clip has none.
            splits: Split of each clip, `train`, `val` or `test`.
        Returns:
            The data of a study.
        Raises:
            StudyError: If there are fewer than 2 scored train or val clips, or all scores of one split are equal.
        """
        names = np.asarray(splits)
        scored = np.isfinite(scores)
        train, val, test = (np.flatnonzero(scored & (names == split)) for split in ("train", "val", "test"))
        if len(train) < 2 or len(val) < 2:
            raise StudyError(
                f"a study needs scores: {len(train)} train and {len(val)} val clips have features and a score: "
                "expected 2 of each; give a table with columns uri and score (--dataset table): docs/datasets.md"
            )
        for split, rows in (("train", train), ("val", val)):
            if np.ptp(scores[rows]) == 0:
                raise StudyError(f"all {split} scores are {scores[rows[0]]:g}: rank correlation is undefined")
        scaling = Scaling.fit(features, train)
        return cls(features, scaling(features.values), scores.astype(np.float32), train, val, test, scaling)
