"""Cosine similarities to the train split (3.a, 3.b)."""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure, checked
from m3ray.similarity.pairwise import cosine_counts


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays, and is like nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


class CosineMean(Measure):
    """3.a: mean cosine similarity to every train clip."""

    printed = ("Cosine", "training set", "mean", "3.a")

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("cosine_mean",)
        # The mean of dot products is the dot product with the sum.
        self.sum_ = _unit(train).sum(axis=0)

    def transform(self, query: np.ndarray) -> np.ndarray:
        return (_unit(checked(query)) @ self.sum_ / len(self.train_))[:, None]

    def transform_train(self) -> np.ndarray:
        unit = _unit(self.train_)
        itself = (unit * unit).sum(axis=1)
        return ((unit @ self.sum_ - itself) / (len(unit) - 1))[:, None]


class CosineThreshold(Measure):
    """3.b: share of train clips with a cosine similarity above each threshold.

    Args:
        thresholds: 0.4, 0.5, 0.7 in the paper.
    """

    printed = ("Cosine", "training set", "threshold", "3.b")

    def __init__(self, thresholds: tuple[float, ...] = (0.4, 0.5, 0.7)) -> None:
        self.thresholds = thresholds

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = tuple(f"cosine_above_{t:g}" for t in self.thresholds)

    def transform(self, query: np.ndarray) -> np.ndarray:
        return self._counts(checked(query)) / len(self.train_)

    def transform_train(self) -> np.ndarray:
        itself = np.square(_unit(self.train_)).sum(axis=1)[:, None] > np.asarray(self.thresholds)
        return (self._counts(self.train_) - itself) / (len(self.train_) - 1)

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        return cosine_counts(_unit(rows), _unit(self.train_), self.thresholds)
