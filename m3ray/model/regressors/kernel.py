"""Support vectors or landmarks under a Gaussian kernel, on components of the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.model.regressors.base import predict_by_block, take_arrays


@dataclass(frozen=True)
class KernelModel:
    """A weighted sum of Gaussian kernels around vectors, of features that are first projected.

    Args:
        mean: What is subtracted from the features, (F,), float64.
        axes: Projection of the features, its scaling in it, (F, D), float32.
        vectors: Projected vectors that the kernels are around, (S, D), float32.
        coefficients: Coefficient of each, (S,), float64.
        intercept: Score far away from all of them.
        gamma: Width of the kernel: exp(-gamma |z - v|^2).
    """

    mean: np.ndarray
    axes: np.ndarray
    vectors: np.ndarray
    coefficients: np.ndarray
    intercept: float
    gamma: float

    @property
    def parameters(self) -> int:
        """The count of the vectors' numbers, their coefficients, and the intercept."""
        return self.vectors.size + len(self.coefficients) + 1

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Predict scores, (N, F) to (N,), float64, not clipped."""
        return predict_by_block(features, len(self.mean), self._predict)

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        # y = sum_s a_s exp(-gamma |z - v_s|^2) + b
        kernel = gaussian_kernel((rows - self.mean) @ self.axes, self.vectors, self.gamma)
        return kernel @ self.coefficients + self.intercept

    def tensors(self) -> dict[str, np.ndarray]:
        """Give its arrays."""
        names = ("mean", "axes", "vectors", "coefficients")
        return {name: np.ascontiguousarray(getattr(self, name)) for name in names}

    def settings(self) -> dict[str, Any]:
        """Give its kind, its intercept and the width of its kernel."""
        return {"kind": "kernel", "intercept": self.intercept, "gamma": self.gamma}

    @classmethod
    def load(cls, settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> KernelModel:
        """Rebuild it from what `settings` and `tensors` gave."""
        mean, axes, vectors, coefficients = take_arrays(tensors, "mean", "axes", "vectors", "coefficients")
        return cls(mean, axes, vectors, coefficients, float(settings["intercept"]), float(settings["gamma"]))


def gaussian_kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    """Compute exp(-gamma |a - b|^2) of each pair.

    Args:
        a: Vectors, (N, D).
        b: Vectors, (S, D).
        gamma: Width of the kernel.
    Returns:
        (N, S), float64.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a b, whose rounding may fall below 0
    distances = a @ b.T
    distances *= -2
    distances += np.square(a).sum(axis=1)[:, None]
    distances += np.square(b).sum(axis=1)
    np.maximum(distances, 0, out=distances)
    distances *= -gamma
    return np.exp(distances, out=distances)
