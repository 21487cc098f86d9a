"""Fractional and Euclidean distances (measures 1.a, 1.b and 2).

Frac(x, y) = (sum_i |x_i - y_i|^f)^(1/f), f in (0, 1): Aggarwal et al. 2001.
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from m3ray.errors import StudyError
from m3ray.similarity.base import Measure
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
        of: `clips` for the mean of the distances, as in the paper; `mean` for the distance to the train clips' mean
            vector, as in its authors' code.
        leave_one_out: whether a train clip is compared with the others alone.
    """

    table_entry = ("Fractional", "training set", "mean", "1.a")

    def __init__(self, f: float = 0.5, of: Literal["clips", "mean"] = "clips", leave_one_out: bool = True) -> None:
        self.f = f
        self.of = of
        self.leave_one_out = leave_one_out

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.columns_ = ("fractional_mean",)

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        if self.of == "mean":
            return fractional_distances(rows, self._points.mean(axis=0, keepdims=True), self.f)
        return fractional_sums(rows, self._points, self.f)[:, None] / len(self.train_)

    def _measure_train(self) -> np.ndarray:
        count = len(self.train_)
        others = count - 1 if self.leave_one_out else count
        if self.of == "mean":
            # x - (n mean - x) / (n - 1) = n / (n - 1) (x - mean), and Frac(cx, cy) = |c| Frac(x, y)
            return self._measure(self._points) * (count / others)
        # A clip's distance to itself is 0, so leaving it out changes the count alone.
        return fractional_sums_within(self._points, self.f)[:, None] / others


class _Prototypes(Measure):
    """Distances to the mean of the train clips that bear a label.

    A train clip is compared with the mean of the others that bear it, so a label needs two of them: that of a single
    clip would tell this clip from all others by a distance of 0. With `leave_one_out` off one is enough.
    """

    needs_labels = True
    _prefix = ""
    members_: np.ndarray | None = None  # an older version did not keep them, and left the clip in

    def __init__(self, leave_one_out: bool = True) -> None:
        self.leave_one_out = leave_one_out

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        assert labels is not None
        used = self._select_labels(labels.sum(axis=0))
        self.members_ = np.ascontiguousarray(labels[:, used])
        # p_l = sum over the clips that bear label l of x, divided by their number
        self.prototypes_ = (self.members_.T.astype(np.float64) @ train) / self.members_.sum(axis=0)[:, None]
        self.columns_ = tuple(f"{self._prefix}_label_{names[k]}" for k in used)

    def _select_labels(self, counts: np.ndarray) -> np.ndarray:
        """The labels that have a prototype, by index; warn of those that have too few clips."""
        fewest = 2 if self.leave_one_out else 1
        used = np.flatnonzero(counts >= fewest)
        alone = int(((counts > 0) & (counts < fewest)).sum())
        if not len(used):
            raise StudyError(
                f"no label has {fewest} train clips, the most frequent has {counts.max(initial=0)}: label more clips, "
                "or choose another measure"
            )
        if alone:
            warnings.warn(
                f"{alone} of {alone + len(used)} labels have one train clip and no prototype: none is left to compare "
                "that clip with",
                stacklevel=4,
            )
        return used

    def _measure_train(self) -> np.ndarray:
        distances = self._measure(self._points)
        if not self.leave_one_out or self.members_ is None:
            return distances
        # Without x, the mean of n clips is (n p - x) / (n - 1), so that the difference to it is n / (n - 1) (x - p);
        # both distances grow with the difference.
        counts = self.members_.sum(axis=0)
        return distances * np.where(self.members_, counts / (counts - 1), 1.0)


class FractionalPrototypes(_Prototypes):
    """1.b: fractional distance to each label's prototype.

    Args:
        f: exponent of the fractional distance, in (0, 1); 0.5 in the paper.
        leave_one_out: whether a train clip is left out of the prototypes that it is compared with.
    """

    table_entry = ("Fractional", "prototypes (labels)", "distance", "1.b")

    _prefix = "fractional"

    def __init__(self, f: float = 0.5, leave_one_out: bool = True) -> None:
        super().__init__(leave_one_out)
        self.f = f

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        return fractional_distances(rows, self.prototypes_, self.f)


class EuclideanPrototypes(_Prototypes):
    """2: Euclidean distance to each label's prototype.

    Args:
        leave_one_out: whether a train clip is left out of the prototypes that it is compared with.
    """

    table_entry = ("Euclidean", "prototypes (labels)", "distance", "2")

    _prefix = "euclidean"

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        return euclidean_distances(rows, self.prototypes_)
