"""Fractional and Euclidean distances (1.a, 1.b, 2).

Frac(x, y) = (sum_i |x_i - y_i|^f)^(1/f), f in (0, 1): Aggarwal et al. 2001.
"""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure, blocks, checked


def fractional_distances(rows: np.ndarray, others: np.ndarray, f: float) -> np.ndarray:
    """(Q, d) and (N, d) to (Q, N)."""
    total = np.zeros((len(rows), len(others)), rows.dtype)
    for k in range(rows.shape[1]):  # a component at a time: a (Q, N) buffer, never (Q, N, d)
        gap = np.abs(rows[:, k, None] - others[None, :, k])
        total += np.sqrt(gap, out=gap) if f == 0.5 else gap**f
    return np.square(total, out=total) if f == 0.5 else total ** (1 / f)


class FractionalMean(Measure):
    """1.a: mean fractional distance to every train clip.

    Args:
        f: exponent, 0.5 in the paper.
    """

    def __init__(self, f: float = 0.5) -> None:
        self.f = f

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("fractional_mean",)

    def transform(self, query: np.ndarray) -> np.ndarray:
        return self._sums(checked(query)) / len(self.train_)

    def transform_train(self) -> np.ndarray:
        # A clip's distance to itself is 0, so leaving it out changes the count alone.
        return self._sums(self.train_) / (len(self.train_) - 1)

    def _sums(self, rows: np.ndarray) -> np.ndarray:
        parts = [
            fractional_distances(rows[part], self.train_, self.f).sum(axis=1)
            for part in blocks(len(rows), len(self.train_))
        ]
        return np.concatenate(parts)[:, None] if parts else np.empty((0, 1))


class _Prototypes(Measure):
    """Distances to the mean of the train clips that bear a label; labels without clips have no prototype."""

    needs_labels = True
    _prefix = ""

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        assert labels is not None
        counts = labels.sum(axis=0)
        borne = np.flatnonzero(counts)
        self.prototypes_ = (labels[:, borne].T.astype(train.dtype) @ train) / counts[borne, None].astype(train.dtype)
        self.columns_ = tuple(f"{self._prefix}_label_{names[k]}" for k in borne)


class FractionalPrototypes(_Prototypes):
    """1.b: fractional distance to each label's prototype.

    Args:
        f: exponent, 0.5 in the paper.
    """

    _prefix = "fractional"

    def __init__(self, f: float = 0.5) -> None:
        self.f = f

    def transform(self, query: np.ndarray) -> np.ndarray:
        return fractional_distances(checked(query), self.prototypes_, self.f)


class EuclideanPrototypes(_Prototypes):
    """2: Euclidean distance to each label's prototype."""

    _prefix = "euclidean"

    def transform(self, query: np.ndarray) -> np.ndarray:
        query = checked(query)
        # By differences, not by the expansion of the square, which loses half the digits near 0.
        squares = np.zeros((len(query), len(self.prototypes_)), query.dtype)
        for k in range(query.shape[1]):
            squares += (query[:, k, None] - self.prototypes_[None, :, k]) ** 2
        return np.sqrt(squares)
