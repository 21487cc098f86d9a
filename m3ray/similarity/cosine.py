"""Cosine similarities to the train split (measures 3.a and 3.b)."""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure, check_rows
from m3ray.similarity.pairwise import cosine_counts


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros stays, and has similarity 0 to all."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


class CosineMean(Measure):
    """3.a: mean cosine similarity to every train clip."""

    table_entry = ("Cosine", "training set", "mean", "3.a")

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("cosine_mean",)
        self.sum_ = _unit_rows(train).sum(axis=0)

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Mean cosine similarity of each clip to all train clips.

        Args:
            query: projected vectors of new clips, floating, (Q, d).
        Returns:
            In [-1, 1], (Q, 1).
        """
        # 1/N sum_n <x, y_n> = <x, sum_n y_n> / N, of unit vectors
        return (_unit_rows(check_rows(query)) @ self.sum_ / len(self.train_))[:, None]

    def transform_train(self) -> np.ndarray:
        """Mean cosine similarity of each train clip to the others.

        Returns:
            In [-1, 1], (N, 1).
        """
        unit = _unit_rows(self.train_)
        to_itself = (unit * unit).sum(axis=1)
        return ((unit @ self.sum_ - to_itself) / (len(unit) - 1))[:, None]


class CosineThreshold(Measure):
    """3.b: share of train clips with a cosine similarity above each threshold.

    Args:
        thresholds: cosine similarities, one a column; 0.4, 0.5 and 0.7 in the paper.
    """

    table_entry = ("Cosine", "training set", "threshold", "3.b")

    def __init__(self, thresholds: tuple[float, ...] = (0.4, 0.5, 0.7)) -> None:
        self.thresholds = thresholds

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = tuple(f"cosine_above_{t:g}" for t in self.thresholds)

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Share of train clips that are more similar to each clip than the thresholds.

        Args:
            query: projected vectors of new clips, floating, (Q, d).
        Returns:
            In [0, 1], (Q, thresholds).
        """
        return self._counts(check_rows(query)) / len(self.train_)

    def transform_train(self) -> np.ndarray:
        """Share of the other train clips that are more similar to each train clip than the thresholds.

        Returns:
            In [0, 1], (N, thresholds).
        """
        counts_itself = np.square(_unit_rows(self.train_)).sum(axis=1)[:, None] > np.asarray(self.thresholds)
        return (self._counts(self.train_) - counts_itself) / (len(self.train_) - 1)

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        return cosine_counts(_unit_rows(rows), _unit_rows(self.train_), self.thresholds)
