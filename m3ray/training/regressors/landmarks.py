"""A Gaussian kernel by landmarks (Nystroem): a ridge regression of kernels around some of the clips.

Williams and Seeger 2001. With a squared loss this is what a support vector regression becomes where every clip is a
support vector: the least-squares support vector machine of Suykens and Vandewalle 1999.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m3ray.model.regressors.kernel import gaussian_kernel
from m3ray.training.regressors.base import TrainRows
from m3ray.training.regressors.ridge_path import Moments, PathChoice, choose_penalty, solve_path

# Directions of the landmarks' kernel with less of its largest eigenvalue are rounding.
_LEAST_EIGENVALUE = 1e-8


@dataclass(frozen=True)
class LandmarkFit:
    """A ridge regression of kernels around landmarks.

    Args:
        choice: The penalty, and what it predicts out of fold.
        coefficients: Coefficient of each landmark's kernel, (S,).
        intercept: Score far away from all landmarks.
    """

    choice: PathChoice
    coefficients: np.ndarray
    intercept: float


def fit_landmarks(z: np.ndarray, rows: TrainRows, landmarks: np.ndarray, gamma: float) -> LandmarkFit:
    """Fit a ridge regression of kernels around landmarks, its penalty chosen out of fold.

    Args:
        z: Projected features of the train clips, (T, D).
        rows: Scores, weights and folds of the clips.
        landmarks: Projected features of the landmarks, (S, D).
        gamma: Width of the kernel.
    Returns:
        The fit.
    """
    # phi(z) = k(z, L) k(L, L)^-1/2, so that phi(z) phi(z') is close to k(z, z')
    values, axes = np.linalg.eigh(gaussian_kernel(landmarks, landmarks, gamma))
    kept = values > _LEAST_EIGENVALUE * values[-1]
    root = axes[:, kept] / np.sqrt(values[kept])
    phi = gaussian_kernel(z, landmarks, gamma) @ root
    # Centred, as differences of a nearly constant kernel would drown in rounding.
    center = np.average(phi, axis=0, weights=rows.weights)
    phi -= center
    total = Moments.of(phi, rows.scores, rows.weights)
    choice = choose_penalty(phi, rows, total)
    centered = total.center()
    weights = solve_path(centered, np.array([choice.penalty]))[:, 0]
    intercept = centered.score - (centered.mean + center) @ weights
    return LandmarkFit(choice, root @ weights, float(intercept))


def draw_landmarks(z: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw landmarks among clips.

    Args:
        z: Projected features, (T, D).
        count: Most landmarks.
        seed: Seed of the draw.
    Returns:
        Projected features of the landmarks, (S, D).
    """
    return z[np.sort(np.random.default_rng(seed).permutation(len(z))[:count])]
