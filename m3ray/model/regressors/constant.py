"""The constant: the same score for every clip, below which no model may fall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.model.regressors.base import predict_by_block


@dataclass(frozen=True)
class Constant:
    """One score for all clips.

    Args:
        value: The score, on the model's scale.
        inputs: Number of columns, F, of the matrix that it is called with.
    """

    value: float
    inputs: int

    @property
    def parameters(self) -> int:
        """The count of numbers that it learned."""
        return 1

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Give every clip the score, (N, F) to (N,); NaN for a clip with a feature that is not a number."""
        return predict_by_block(features, self.inputs, self._predict)

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(rows).any(axis=1), np.nan, self.value)

    def tensors(self) -> dict[str, np.ndarray]:
        """Give its arrays: it has none."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Give its kind, its score and its number of columns."""
        return {"kind": "constant", "value": self.value, "inputs": self.inputs}

    @classmethod
    def load(cls, settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> Constant:
        """Rebuild it from what `settings` gave."""
        return cls(float(settings["value"]), int(settings["inputs"]))
