"""A linear model: weights and an intercept, as a ridge regression fits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.model.regressors.base import predict_by_block, take_arrays


@dataclass(frozen=True)
class Linear:
    """A weight for each column, and an intercept.

    Args:
        weights: Weight of each column, (F,), float64.
        intercept: Score of a clip whose features are all 0.
    """

    weights: np.ndarray
    intercept: float

    @property
    def parameters(self) -> int:
        """The count of weights, and the intercept."""
        return len(self.weights) + 1

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Predict scores, (N, F) to (N,), float64, not clipped."""
        # y = x w + b
        return predict_by_block(features, len(self.weights), lambda x: x @ self.weights + self.intercept)

    def tensors(self) -> dict[str, np.ndarray]:
        """Give its weights."""
        return {"weights": self.weights}

    def settings(self) -> dict[str, Any]:
        """Give its kind and its intercept."""
        return {"kind": "linear", "intercept": self.intercept}

    @classmethod
    def load(cls, settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> Linear:
        """Rebuild it from what `settings` and `tensors` gave."""
        (weights,) = take_arrays(tensors, "weights")
        return cls(weights, float(settings["intercept"]))
