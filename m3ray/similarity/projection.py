"""PCA to a few whitened components, before any measure."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA

from m3ray.errors import ShapeError, StudyError
from m3ray.similarity.base import checked


class Projection(BaseEstimator):
    """Whitened PCA fitted on the train split.

    Args:
        components: how many.
        seed: of the randomised solver, which scikit-learn takes for large data.
    """

    def __init__(self, components: int = 10, seed: int = 0) -> None:
        self.components = components
        self.seed = seed

    def fit(self, train: np.ndarray) -> Self:
        """Learns mean and directions.

        Args:
            train: (N, D), N > components.
        Raises:
            StudyError: too few rows or columns for the components asked for.
            FeatureError: not finite.
        """
        train = checked(train)
        if min(train.shape[0] - 1, train.shape[1]) < self.components:
            raise StudyError(
                f"{self.components} components need more than {self.components} train clips and as many columns; got "
                f"{train.shape[0]} clips of {train.shape[1]} columns: add train clips or ask for fewer components"
            )
        with np.errstate(divide="ignore", invalid="ignore"):  # equal rows: shares of no variance, which nobody reads
            pca = PCA(self.components, svd_solver=_solver(train.shape), random_state=self.seed).fit(train)
        self.mean_ = pca.mean_
        deviation = np.sqrt(pca.explained_variance_)
        # A direction without variance gives 0 for every clip instead of noise over 0; so does one that varies by no
        # more than the rounding of float32: the same picture, computed in another batch.
        size = float(np.sqrt(np.mean(np.square(pca.mean_))))
        usable = deviation > 1e-6 * max(float(deviation.max(initial=0.0)), size, 1e-30)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=usable)
        self.axes_ = pca.components_ * scale[:, None]
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """(N, D) to (N, components), whitened.

        Raises:
            ShapeError: another number of columns than at `fit`.
        """
        rows = checked(rows)
        if rows.shape[1] != self.axes_.shape[1]:
            raise ShapeError(f"fitted on {self.axes_.shape[1]} columns, got {rows.shape[1]}")
        return (rows - self.mean_) @ self.axes_.T


def _solver(shape: tuple[int, ...]) -> str:
    """Exact where that is cheap; through the covariance where rows outnumber columns."""
    return "full" if min(shape) <= 1000 else "covariance_eigh" if shape[0] > shape[1] else "randomized"
