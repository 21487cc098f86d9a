"""What every measure is: a scikit-learn estimator that says how unlike the train split a clip is."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from m3ray.errors import FeatureError, ShapeError, StudyError


class Measure(BaseEstimator):
    """Constructor stores, `fit` learns, a trailing underscore marks what was learned.

    Subclasses write `_fit(train, labels)`, `transform`, and `transform_train` where a train clip must not be its own
    neighbour. `columns_` names what `transform` returns.
    """

    needs_labels = False
    one_hot = False
    # How Table 4 of the supplement prints it: metric, what it is applied on, how it is aggregated, reference.
    printed: ClassVar[tuple[str, str, str, str]] = ("", "", "", "")

    train_: np.ndarray
    columns_: tuple[str, ...]

    def fit(self, train: np.ndarray, labels: np.ndarray | None = None, names: list[str] | None = None) -> Self:
        """Learns from the train split alone.

        Args:
            train: (N, d), projected.
            labels: (N, L), bool, several labels a row; None: none known.
            names: of the labels, for the columns.
        Raises:
            FeatureError: not finite.
            StudyError: fewer than two rows, or labels are needed and there are none.
        Warns:
            UserWarning: all rows are equal, so that nothing is more unlike the rest than anything else.
        """
        self.train_ = checked(train)
        if len(self.train_) < 2:
            raise StudyError(f"{type(self).__name__} needs at least 2 train clips, got {len(self.train_)}")
        if self.needs_labels and (labels is None or labels.shape[1] == 0):
            raise StudyError(f"{type(self).__name__} needs labels, and no train clip has any: choose another measure")
        if labels is not None and len(labels) != len(train):
            raise ShapeError(f"labels have {len(labels)} rows, the train split {len(train)}")
        if all_equal(self.train_):
            warnings.warn(
                f"the vectors of all {len(train)} train clips are equal (first frames all black, say): similarity says "
                "nothing of them",
                stacklevel=2,
            )
        names = names or [str(k) for k in range(0 if labels is None else labels.shape[1])]
        self._fit(self.train_, labels, names)
        return self

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        raise TypeError(f"{type(self).__name__} defines no _fit")

    def transform(self, query: np.ndarray) -> np.ndarray:
        """(Q, d) to (Q, len(columns))."""
        raise TypeError(f"{type(self).__name__} defines no transform")

    def transform_train(self) -> np.ndarray:
        """The train split's own rows, each clip compared with the others."""
        return self.transform(self.train_)

    @property
    def columns(self) -> tuple[str, ...]:
        """A name for each column of `transform`."""
        check_is_fitted(self)
        return self.columns_

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What was learned: arrays, and what JSON holds."""
        learned = {name: value for name, value in vars(self).items() if name.endswith("_")}
        arrays = {name: np.ascontiguousarray(v) for name, v in learned.items() if isinstance(v, np.ndarray)}
        return arrays, {name: value for name, value in learned.items() if name not in arrays}

    def restore(self, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> Self:
        """The inverse of `state`."""
        for name, value in {**arrays, **facts}.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        return self


def all_equal(rows: np.ndarray) -> bool:
    """Whether all rows are the same in the precision that measures compute in, float32."""
    return not np.ptp(rows.astype(np.float32), axis=0).any()


def checked(rows: np.ndarray) -> np.ndarray:
    """`rows` as a floating (N, d) array.

    Raises:
        ShapeError: not two-dimensional.
        FeatureError: names the first row that is not finite.
    """
    rows = np.asarray(rows)
    if rows.ndim != 2:
        raise ShapeError(f"expected (N, d), got {rows.shape}")
    if not np.issubdtype(rows.dtype, np.floating):
        rows = rows.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise FeatureError(f"{len(bad)} rows are not finite, the first is row {bad[0]}: drop or recompute these clips")
    return rows
