"""What models are trained on: the matrix scaled with the train split's statistics, the scores and the split."""

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
    """z-scores with the train split's statistics: (x - mean) / deviation, column by column."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, features: Features, train: np.ndarray) -> Scaling:
        """Statistics of the rows `train`; columns that are not scaled, or constant, keep deviation 1."""
        scaled = np.concatenate([np.full(len(b.names), b.scaled) for b in features.blocks])
        rows = features.values[train].astype(np.float64)
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        for start, width in _whole_vectors(features.blocks):
            deviation[start : start + width] = np.sqrt(np.mean(deviation[start : start + width] ** 2))
        usable = scaled & (deviation > 1e-8 * np.maximum(np.abs(mean), 1e-8))
        return cls(np.where(scaled, mean, 0).astype(np.float32), np.where(usable, deviation, 1).astype(np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return (values - self.mean) / self.deviation


@dataclass(frozen=True)
class StudyData:
    """All that trials share: the scaled matrix, the scores, who is in which split (`test` may be empty)."""

    features: Features
    scaled: np.ndarray
    scores: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    scaling: Scaling

    @classmethod
    def make(cls, features: Features, scores: np.ndarray, splits: Sequence[str]) -> StudyData:
        """Checks that there is something to train on.

        Raises:
            StudyError: fewer than 2 scored train or val clips, or constant scores.
        """
        names = np.asarray(splits)
        known = np.isfinite(scores)
        train, val, test = (np.flatnonzero(known & (names == split)) for split in ("train", "val", "test"))
        if len(train) < 2 or len(val) < 2:
            raise StudyError(
                f"a study needs scores: {len(train)} train and {len(val)} val clips have features and a score, "
                "expected at least 2 of each; give a table with columns uri and score (--dataset table), see README"
            )
        for split, rows in (("train", train), ("val", val)):
            if np.ptp(scores[rows]) == 0:
                raise StudyError(f"all {split} scores are {scores[rows[0]]:g}: rank correlation is undefined")
        scaling = Scaling.fit(features, train)
        return cls(features, scaling(features.values), scores.astype(np.float32), train, val, test, scaling)
