"""Fractional and Euclidean distances (measures 1.a, 1.b and 2).

Frac(x, y) = (sum_i |x_i - y_i|^f)^(1/f), f in (0, 1): Aggarwal et al. 2001.
"""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure, check_rows
from m3ray.similarity.pairwise import (
    euclidean_distances,
    fractional_distances,
    fractional_sums,
    fractional_sums_within,
)


class FractionalMean(Measure):
    """1.a: mean fractional distance to every train clip.

    Args:
        f: exponent of the fractional distance, in (0, 1); 0.5 in the paper.
    """

    table_entry = ("Fractional", "training set", "mean", "1.a")

    def __init__(self, f: float = 0.5) -> None:
        self.f = f

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("fractional_mean",)

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Mean fractional distance of each clip to all train clips.

        Args:
            query: projected vectors of new clips, floating, (Q, d).
        Returns:
            (Q, 1).
        """
        return fractional_sums(check_rows(query), self.train_, self.f)[:, None] / len(self.train_)

    def transform_train(self) -> np.ndarray:
        """Mean fractional distance of each train clip to the others.

        Returns:
            (N, 1).
        """
        # A clip's distance to itself is 0, so leaving it out changes the count alone.
        return fractional_sums_within(self.train_, self.f)[:, None] / (len(self.train_) - 1)


class _Prototypes(Measure):
    """Distances to the mean of the train clips that bear a label; labels without clips have no prototype."""

    needs_labels = True
    _prefix = ""

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        assert labels is not None
        counts = labels.sum(axis=0)
        used = np.flatnonzero(counts)
        # p_l = sum over the clips that bear label l of x, divided by their number
        self.prototypes_ = (labels[:, used].T.astype(train.dtype) @ train) / counts[used, None].astype(train.dtype)
        self.columns_ = tuple(f"{self._prefix}_label_{names[k]}" for k in used)


class FractionalPrototypes(_Prototypes):
    """1.b: fractional distance to each label's prototype.

    Args:
        f: exponent of the fractional distance, in (0, 1); 0.5 in the paper.
    """

    table_entry = ("Fractional", "prototypes (labels)", "distance", "1.b")

    _prefix = "fractional"

    def __init__(self, f: float = 0.5) -> None:
        self.f = f

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Fractional distance of each clip to each prototype.

        Args:
            query: projected vectors of clips, floating, (Q, d).
        Returns:
            (Q, labels that a train clip bears).
        """
        return fractional_distances(check_rows(query), self.prototypes_, self.f)


class EuclideanPrototypes(_Prototypes):
    """2: Euclidean distance to each label's prototype."""

    table_entry = ("Euclidean", "prototypes (labels)", "distance", "2")

    _prefix = "euclidean"

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Euclidean distance of each clip to each prototype.

        Args:
            query: projected vectors of clips, floating, (Q, d).
        Returns:
            (Q, labels that a train clip bears).
        """
        return euclidean_distances(check_rows(query), self.prototypes_)
