"""Principal components of the train split, for regressors that wide matrices would slow down or mislead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Rows or columns up to which the decomposition is exact.
_EXACT = 1000


@dataclass(frozen=True)
class Components:
    """Principal components fitted on the train split.

    Args:
        mean: Mean of each column, (F,), float64.
        axes: Directions of unit length, (F, D), float32.
        deviations: Standard deviation along each, (D,), descending.
    """

    mean: np.ndarray
    axes: np.ndarray
    deviations: np.ndarray

    def scale(self, power: float) -> np.ndarray:
        """Scale the axes by a power of the deviations: 0 leaves their ratios, 1 makes all directions weigh the same.

        Args:
            power: The power, in [0, 1].
        Returns:
            Axes whose components have a sum of variances of 1, (F, D), float32.
        """
        scales = self.deviations**-power
        return (self.axes * (scales / np.linalg.norm(scales * self.deviations))).astype(np.float32)


def fit_components(features: np.ndarray, limit: int, seed: int) -> Components:
    """Fit principal components.

    Args:
        features: Columns of the study's scaled matrix, (T, F), of which one at least varies.
        limit: Most components to keep.
        seed: Seed of the randomised decomposition that large matrices get.
    Returns:
        The components whose deviation is above the rounding of float32.
    """
    from sklearn.decomposition import PCA  # over a second to import, which a bundle's reader can do without

    count = min(limit, len(features) - 1, features.shape[1])
    pca = PCA(count, svd_solver=_choose_solver(features.shape), random_state=seed, iterated_power=3)
    pca.fit(features if min(features.shape) > _EXACT else features.astype(np.float64))
    deviations = np.sqrt(np.maximum(pca.explained_variance_, 0).astype(np.float64))
    usable = deviations > 1e-6 * max(deviations.max(), float(np.sqrt(np.mean(np.square(pca.mean_)))), 1e-12)
    axes = np.ascontiguousarray(pca.components_[usable].T, np.float32)
    return Components(pca.mean_.astype(np.float64), axes, deviations[usable])


def _choose_solver(shape: tuple[int, ...]) -> str:
    return "covariance_eigh" if shape[1] <= _EXACT else "full" if shape[0] <= _EXACT else "randomized"
