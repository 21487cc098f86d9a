"""PCA to a few whitened components, which every measure is applied to."""

from __future__ import annotations

from typing import Self

import numpy as np

from m3ray.errors import ShapeError, StudyError
from m3ray.similarity.base import check_rows, scale_rows, scaling_exponent
from m3ray.similarity.estimator import Estimator


class Projection(Estimator):
    """Whitened PCA fitted on the train split.

    Args:
        components: number of components to project to.
        seed: seed of the randomised solver, which large data are fitted with.
    """

    def __init__(self, components: int = 10, seed: int = 0) -> None:
        self.components = components
        self.seed = seed

    def fit(self, train: np.ndarray) -> Self:
        """Learn mean and directions from the train split.

        Args:
            train: vectors of the train clips, floating, (N, D), N > components and D >= components.
        Raises:
            StudyError: If there are too few rows or columns for the components.
            FeatureError: If a row is not finite.
        """
        from sklearn.decomposition import PCA  # over a second to import, which what is fitted already can do without

        train = check_rows(train)
        if min(train.shape[0] - 1, train.shape[1]) < self.components:
            raise StudyError(
                f"{self.components} components need more than {self.components} train clips and as many columns; got "
                f"{train.shape[0]} clips of {train.shape[1]} columns: add train clips or ask for fewer components"
            )
        # In float64, and near 1: squares of very large numbers, or of small ones, would leave its range.
        exponent = scaling_exponent(train)
        rows = scale_rows(train, exponent)
        with np.errstate(divide="ignore", invalid="ignore"):  # of equal rows, the share of variance is 0 / 0; unused
            pca = PCA(self.components, svd_solver=_solver(rows.shape), random_state=self.seed).fit(rows)
        deviation = np.sqrt(pca.explained_variance_)
        # A direction without variance gives 0 for every clip instead of noise over 0; so does one that varies by no
        # more than the rounding of float32: the same picture, computed in another batch.
        size = float(np.sqrt(np.mean(np.square(pca.mean_))))
        usable = deviation > 1e-6 * max(float(deviation.max(initial=0.0)), size)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=usable)
        self.mean_ = scale_rows(pca.mean_, -exponent)
        self.axes_ = scale_rows(pca.components_ * scale[:, None], exponent)
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Project vectors.

        Args:
            rows: vectors of any clips, floating, (Q, D).
        Returns:
            float64, (Q, components), on the train split with mean 0 and standard deviation 1.
        Raises:
            ShapeError: If they have another number of columns than at `fit`.
            FeatureError: If a row is not finite.
        """
        rows = check_rows(rows)
        if rows.shape[1] != self.axes_.shape[1]:
            raise ShapeError(f"the projection was fitted on {self.axes_.shape[1]} columns, got {rows.shape[1]}")
        # z = W (x - mean), the whitening in W
        return (rows - self.mean_) @ self.axes_.T


def _solver(shape: tuple[int, ...]) -> str:
    """The solver of scikit-learn: exact where that is cheap, else by the covariance where rows outnumber columns."""
    return "full" if min(shape) <= 1000 else "covariance_eigh" if shape[0] > shape[1] else "randomized"
