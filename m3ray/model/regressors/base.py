"""What every regressor beside the MLP has in common: how it predicts, and how it is written to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from m3ray.errors import ShapeError

# Rows that are computed with at once: in float64 and times some thousand columns they stay below 64 MB.
ROWS_AT_ONCE = 2048


class Regressor(Protocol):
    """A fitted regressor: predicts scores from the study's scaled matrix, without the library that it was fitted by."""

    @property
    def parameters(self) -> int:
        """The count of numbers that it learned."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Predict scores.

        Args:
            features: Columns of the study's scaled matrix, (N, F).
        Returns:
            Scores on the model's scale, where [0, 1] is the target's range, not clipped to it, (N,), float64; NaN for
            a clip with a feature that is not a number.
        Raises:
            ShapeError: If there is another number of columns than it was fitted on.
        """

    def tensors(self) -> dict[str, np.ndarray]:
        """Give its arrays as safetensors keep them."""

    def settings(self) -> dict[str, Any]:
        """Give its `kind` and its numbers as JSON keeps them."""


def predict_by_block(features: np.ndarray, inputs: int, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Predict block by block of rows, so that the memory does not grow with the number of clips.

    Args:
        features: Features, (N, F).
        inputs: Number of columns that the regressor was fitted on.
        predict: Function from rows in float64, (n, F), to their scores, (n,).
    Returns:
        Scores, (N,), float64.
    Raises:
        ShapeError: If F is not `inputs`.
    """
    if features.ndim != 2 or features.shape[1] != inputs:
        raise ShapeError(f"expected features (N, {inputs}), got {features.shape}: give the columns it was fitted on")
    parts = [predict(block) for block in _cut_rows(features)]
    return np.concatenate(parts) if parts else np.empty(0)


def _cut_rows(features: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(features), ROWS_AT_ONCE):
        yield features[start : start + ROWS_AT_ONCE].astype(np.float64)


def take_arrays(tensors: Mapping[str, Any], *names: str) -> list[np.ndarray]:
    """Take arrays by name, PyTorch's tensors among them.

    Args:
        tensors: Name to array or tensor.
        names: Names of the arrays to take.
    Returns:
        The arrays, in that order.
    """
    return [np.asarray(tensors[name]) for name in names]
