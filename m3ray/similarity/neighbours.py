"""Distance to the nearest train clips; a measure beyond the supplement's nine."""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure
from m3ray.similarity.pairwise import nearest_distances


class KnnDensity(Measure):
    """Mean Euclidean distance to the k nearest train clips (Loftsgaarden and Quesenberry 1965 estimate density by it).

    Args:
        k: number of neighbours; on fewer train clips, all others.
    """

    table_entry = ("Euclidean", "nearest neighbours", "mean", "beyond the paper")

    def __init__(self, k: int = 10) -> None:
        self.k = k

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.neighbours_ = min(self.k, len(train) - 1)
        self.columns_ = (f"knn_{self.neighbours_}_distance",)

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        return nearest_distances(rows, self._points, self.neighbours_).mean(axis=1, keepdims=True)

    def _measure_train(self) -> np.ndarray:
        own = np.arange(len(self.train_))
        return nearest_distances(self._points, self._points, self.neighbours_, own).mean(axis=1, keepdims=True)
