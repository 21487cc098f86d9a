"""Training data: the matrix scaled with the train split's statistics, what is to be predicted, and the splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from m3ray.errors import StudyError
from m3ray.features.matrix import Block, Features
from m3ray.features.target import SCORE, Target


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
        scores: What is to be predicted, in the target's own units, (N,), float32; not a number where a clip has none.
        train: Rows of the train split with a score, int64.
        val: Rows of the val split with a score, int64.
        test: Rows of the test split with a score, int64; may be empty.
        scaling: Scaling of the matrix.
        target: What the scores are, and how a model's output in [0, 1] stands for them.
        responses: Number of viewers behind each score, (N,), float64, not a number where it is unknown; None: nobody
            counted.
        weights: Weight of each clip in losses and metrics, (N,), float32, with mean 1 over the train split; None: all
            weigh the same.
        groups: Number of each clip's source, (N,), int64, of which no two splits may share one; None: each is its own.
    """

    features: Features
    scaled: np.ndarray
    scores: np.ndarray
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    scaling: Scaling
    target: Target = field(default_factory=Target)
    responses: np.ndarray | None = None
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None

    @classmethod
    def make(
        cls,
        features: Features,
        scores: np.ndarray,
        splits: Sequence[str],
        target: str = SCORE,
        responses: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        *,
        weigh: bool = False,
    ) -> StudyData:
        """Scale a matrix and find the rows of each split.

        Args:
            features: Matrix of N clips.
            scores: What is to be predicted, (N,); not a number where a clip has none.
            splits: Split of each clip, `train`, `val` or `test`.
            target: Name of what the scores are.
            responses: Number of viewers behind each score, (N,); not a number where it is unknown.
            groups: Number of each clip's source, (N,), int64.
            weigh: Whether a clip weighs as many viewers as it has.
        Returns:
            The data of a study.
        Raises:
            StudyError: If there are fewer than 2 scored train or val clips, or all scores of one split are equal.
        """
        train, val, test = _find_rows(scores, splits, target)
        scaling = Scaling.fit(features, train)
        data = cls(features, scaling(features.values), scores.astype(np.float32), train, val, test, scaling)
        weights = weigh_by_responses(responses, train) if weigh and responses is not None else None
        return replace(
            data, target=Target.fit(target, scores[train]), responses=responses, weights=weights, groups=groups
        )

    def with_target(
        self, target: str, scores: np.ndarray, splits: Sequence[str], responses: np.ndarray | None = None
    ) -> StudyData:
        """The same matrix, as it is scaled here, with something else to predict.

        Args:
            target: Name of what the scores are.
            scores: What is to be predicted, (N,); not a number where a clip has none.
            splits: Split of each clip, `train`, `val` or `test`.
            responses: Number of viewers behind each score, (N,); None: nobody counted.
        Returns:
            The data of a study; its clips weigh by these responses where they weigh by responses here.
        Raises:
            StudyError: If there are fewer than 2 scored train or val clips, or all scores of one split are equal.
        """
        train, val, test = _find_rows(scores, splits, target)
        is_weighed = self.weights is not None and responses is not None
        return replace(
            self,
            scores=scores.astype(np.float32),
            train=train,
            val=val,
            test=test,
            target=Target.fit(target, scores[train]),
            responses=responses,
            weights=weigh_by_responses(responses, train) if is_weighed and responses is not None else None,
        )


def weigh_by_responses(responses: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Weigh clips by the number of viewers behind their scores.

    The variance of a share of n viewers is p (1 - p) / n: what is known of a clip grows with n.

    Args:
        responses: Number of viewers of each clip, (N,); not a number where it is unknown.
        train: Rows of the train split.
    Returns:
        Weights, (N,), float32: responses over their mean in the train split; 1 where they are unknown.
    """
    known = responses[train][np.isfinite(responses[train])]
    mean = known.mean() if len(known) else np.nan
    weights = responses / mean if mean > 0 else np.ones(len(responses))
    return np.where(np.isfinite(weights), weights, 1).astype(np.float32)


def _find_rows(scores: np.ndarray, splits: Sequence[str], target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of train, val and test that have a score; StudyError where a study cannot be made of them."""
    names, scored = np.asarray(splits), np.isfinite(scores)
    train, val, test = (np.flatnonzero(scored & (names == split)) for split in ("train", "val", "test"))
    what = "score" if target == SCORE else f"value of {target}"
    if len(train) < 2 or len(val) < 2:
        raise StudyError(
            f"a study needs scores: {len(train)} train and {len(val)} val clips have features and a {what}: "
            "expected 2 of each; give a table with columns uri and score (--dataset table): docs/datasets.md"
        )
    for split, rows in (("train", train), ("val", val)):
        if np.ptp(scores[rows]) == 0:
            plural = "scores" if target == SCORE else f"values of {target}"
            raise StudyError(f"all {split} {plural} are {scores[rows[0]]:g}: rank correlation is undefined")
    return train, val, test
