"""Boosted trees as flat arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from m3ray.errors import BundleError
from m3ray.model.regressors.base import predict_by_block, take_arrays

LEAF = -1


@dataclass(frozen=True)
class Trees:
    """A sum of regression trees, of features or of components of them.

    All trees' nodes stand one after the other, a node before its children.

    Args:
        baseline: Score before any tree.
        inputs: Number of columns, F.
        mean: What is subtracted from the features before they are projected, (F,), float64; None: no projection.
        axes: Projection of the features, (F, D), float32; None: trees split the features themselves.
        roots: First node of each tree, int32.
        feature: Column that a node splits; -1 for a leaf; int32.
        threshold: A clip goes left where its value is at most this; float64.
        left: Node on the left, int32.
        right: Node on the right, int32.
        value: What a leaf adds to the score; float64.
    """

    baseline: float
    inputs: int
    mean: np.ndarray | None
    axes: np.ndarray | None
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @property
    def parameters(self) -> int:
        """The count of thresholds and of leaves' values."""
        return len(self.feature)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Predict scores, (N, F) to (N,), float64, not clipped."""
        return predict_by_block(features, self.inputs, self._predict)

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        if self.mean is not None and self.axes is not None:
            rows = (rows - self.mean) @ self.axes
        columns = np.asfortranarray(rows)
        total = np.full(len(rows), self.baseline)
        ends = np.append(self.roots[1:], len(self.feature))
        for start, end in zip(self.roots.tolist(), ends.tolist(), strict=True):
            total += self._evaluate_tree(columns, start, end)
        # A comparison would send what is not a number to the right.
        return np.where(np.isnan(rows).any(axis=1), np.nan, total)

    def _evaluate_tree(self, columns: np.ndarray, start: int, end: int) -> np.ndarray | float:
        # From the leaves up: whole columns are compared at once, and no clip is followed through the tree by itself.
        nodes: dict[int, np.ndarray | float] = {}
        for node in range(end - 1, start - 1, -1):
            if self.feature[node] == LEAF:
                nodes[node] = float(self.value[node])
                continue
            is_left = columns[:, self.feature[node]] <= self.threshold[node]
            nodes[node] = np.where(is_left, nodes.pop(int(self.left[node])), nodes.pop(int(self.right[node])))
        return nodes[start]

    def tensors(self) -> dict[str, np.ndarray]:
        """Give its arrays, those of the projection only where it has one."""
        names = ("mean", "axes", "roots", "feature", "threshold", "left", "right", "value")
        arrays = {name: getattr(self, name) for name in names}
        return {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}

    def settings(self) -> dict[str, Any]:
        """Give its kind, its score before any tree, and its number of columns."""
        return {"kind": "trees", "baseline": self.baseline, "inputs": self.inputs}

    @classmethod
    def load(cls, settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> Trees:
        """Rebuild it from what `settings` and `tensors` gave."""
        mean, axes = take_arrays(tensors, "mean", "axes") if "axes" in tensors else (None, None)
        nodes = take_arrays(tensors, "roots", "feature", "threshold", "left", "right", "value")
        inputs = int(settings["inputs"])
        _check_columns(nodes[1], inputs if axes is None else axes.shape[1])
        return cls(float(settings["baseline"]), inputs, mean, axes, *nodes)


def _check_columns(feature: np.ndarray, columns: int) -> None:
    """Raise BundleError where a node splits a column that is not there: a negative one would be read from the end."""
    if len(feature) and not (feature.min() >= LEAF and feature.max() < columns):
        raise BundleError(
            f"trees split columns {feature.min()} to {feature.max()} of {columns}: copy the bundle anew, or train again"
        )
