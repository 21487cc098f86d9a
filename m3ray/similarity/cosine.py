"""Cosine similarities to the train split (measures 3.a and 3.b).

A vector of zeros has no direction. As in scikit-learn, its similarity to all is 0, that of a right angle; SciPy's is
not a number, which no model takes.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from m3ray.similarity.base import Measure
from m3ray.similarity.pairwise import cosine_counts

_ROUNDING = 1e-6  # of float32, in which vectors are computed, over their number of components


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros stays, and has similarity 0 to all."""
    # A power of two first, which rounds nothing: squares of very large or small numbers leave the range.
    rows = np.ldexp(rows, -np.frexp(np.abs(rows).max(axis=1, keepdims=True, initial=0.0))[1])
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


class CosineMean(Measure):
    """3.a: mean cosine similarity to every train clip.

    Args:
        of: `clips` for the mean of the similarities, as in the paper; `mean` for the similarity to the mean vector of
            the train clips, as in its authors' code. Of centred clips all but one have a mean opposite to that one, so
            that `mean` tells them apart only with `leave_one_out` off.
        leave_one_out: whether a train clip is compared with the others alone.
    """

    table_entry = ("Cosine", "training set", "mean", "3.a")

    def __init__(self, of: Literal["clips", "mean"] = "clips", leave_one_out: bool = True) -> None:
        self.of = of
        self.leave_one_out = leave_one_out

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("cosine_mean",)
        self.sum_ = _unit_rows(train).sum(axis=0)
        if self.of == "mean":
            self._warn_if_undirected(train)

    def _warn_if_undirected(self, train: np.ndarray) -> None:
        mean, size = np.linalg.norm(train.mean(axis=0)), np.sqrt(np.square(train).sum(axis=1).mean())
        if mean <= _ROUNDING * size:
            warnings.warn(
                f"the mean of the train clips is {mean:.2g} long, they themselves {size:.2g}: PCA has centred them, so "
                "the direction that clips are compared with is one of rounding",
                stacklevel=4,
            )

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        if self.of == "mean":
            return _unit_rows(rows) @ _unit_rows(self._points.mean(axis=0, keepdims=True)).T
        # 1/N sum_n <x, y_n> = <x, sum_n y_n> / N, of unit vectors
        return (_unit_rows(rows) @ self.sum_ / len(self.train_))[:, None]

    def _measure_train(self) -> np.ndarray:
        if not self.leave_one_out:
            return self._measure(self._points)
        unit = _unit_rows(self._points)
        if self.of == "mean":
            others = self._points.sum(axis=0) - self._points
            return (unit * _unit_rows(others)).sum(axis=1, keepdims=True)
        to_itself = (unit * unit).sum(axis=1)
        return ((unit @ self.sum_ - to_itself) / (len(unit) - 1))[:, None]


class CosineThreshold(Measure):
    """3.b: share of train clips with a cosine similarity above each threshold.

    Args:
        thresholds: cosine similarities, one a column; 0.4, 0.5 and 0.7 in the paper.
        leave_one_out: whether a train clip is compared with the others alone.
    """

    table_entry = ("Cosine", "training set", "threshold", "3.b")

    def __init__(self, thresholds: tuple[float, ...] = (0.4, 0.5, 0.7), leave_one_out: bool = True) -> None:
        self.thresholds = thresholds
        self.leave_one_out = leave_one_out

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = tuple(f"cosine_above_{t:g}" for t in self.thresholds)

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        return self._count(rows) / len(self.train_)

    def _measure_train(self) -> np.ndarray:
        if not self.leave_one_out:
            return self._measure(self._points)
        counts_itself = np.square(_unit_rows(self._points)).sum(axis=1)[:, None] > np.asarray(self.thresholds)
        return (self._count(self._points) - counts_itself) / (len(self.train_) - 1)

    def _count(self, rows: np.ndarray) -> np.ndarray:
        return cosine_counts(_unit_rows(rows), _unit_rows(self._points), self.thresholds)
