"""Fractional and Euclidean distances (1.a, 1.b, 2).

Frac(x, y) = (sum_i |x_i - y_i|^f)^(1/f), f in (0, 1): Aggarwal et al. 2001.
"""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure, checked
from m3ray.similarity.pairwise import (
    euclidean_distances,
    fractional_distances,
    fractional_sums,
    fractional_sums_within,
)


class FractionalMean(Measure):
    """1.a: mean fractional distance to every train clip.

    Args:
        f: exponent, 0.5 in the paper.
    """

    printed = ("Fractional", "training set", "mean", "1.a")

    def __init__(self, f: float = 0.5) -> None:
        self.f = f

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("fractional_mean",)

    def transform(self, query: np.ndarray) -> np.ndarray:
        return fractional_sums(checked(query), self.train_, self.f)[:, None] / len(self.train_)

    def transform_train(self) -> np.ndarray:
        # A clip's distance to itself is 0, so leaving it out changes the count alone.
        return fractional_sums_within(self.train_, self.f)[:, None] / (len(self.train_) - 1)


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

    printed = ("Fractional", "prototypes (labels)", "distance", "1.b")

    _prefix = "fractional"

    def __init__(self, f: float = 0.5) -> None:
        self.f = f

    def transform(self, query: np.ndarray) -> np.ndarray:
        return fractional_distances(checked(query), self.prototypes_, self.f)


class EuclideanPrototypes(_Prototypes):
    """2: Euclidean distance to each label's prototype."""

    printed = ("Euclidean", "prototypes (labels)", "distance", "2")

    _prefix = "euclidean"

    def transform(self, query: np.ndarray) -> np.ndarray:
        return euclidean_distances(checked(query), self.prototypes_)
