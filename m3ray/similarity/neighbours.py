"""Distance to the nearest train clips; a measure beyond the supplement's nine."""

from __future__ import annotations

import numpy as np

from m3ray.similarity.base import Measure, check_rows
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

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Mean distance of each clip to its k nearest train clips.

        Args:
            query: projected vectors of new clips, floating, (Q, d).
        Returns:
            (Q, 1).
        """
        return nearest_distances(check_rows(query), self.train_, self.neighbours_).mean(axis=1, keepdims=True)

    def transform_train(self) -> np.ndarray:
        """Mean distance of each train clip to its k nearest other ones.

        Returns:
            (N, 1).
        """
        own = np.arange(len(self.train_))
        return nearest_distances(self.train_, self.train_, self.neighbours_, own).mean(axis=1, keepdims=True)
