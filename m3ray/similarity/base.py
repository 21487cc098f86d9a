"""The base class of all measures: an estimator that says how unlike the train split a clip is."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np

from m3ray.errors import FeatureError, ShapeError, StudyError
from m3ray.similarity.estimator import Estimator, check_fitted


class Measure(Estimator):
    """How unlike the train split a clip is, in one or several columns.

    As in scikit-learn, the constructor stores settings, `fit` learns, and a trailing underscore marks what was learned.
    Subclasses write `_fit`, which sets `columns_`, and `transform`; and `transform_train` where a train clip must not
    be its own neighbour.
    """

    needs_labels = False
    one_hot = False
    # Its row in Table 4 of the supplement: metric, what it is applied on, how it is aggregated, reference.
    table_entry: ClassVar[tuple[str, str, str, str]] = ("", "", "", "")

    train_: np.ndarray
    columns_: tuple[str, ...]

    def fit(self, train: np.ndarray, labels: np.ndarray | None = None, names: list[str] | None = None) -> Self:
        """Learn from the train split alone.

        Args:
            train: projected vectors of the train clips, floating, (N, d), N >= 2.
            labels: which labels each clip bears, bool, (N, L); None where there are no labels.
            names: name of each label, for the names of columns; None to number them.
        Raises:
            FeatureError: If a row is not finite.
            StudyError: If there are fewer than two rows, or the measure needs labels and there are none.
            ShapeError: If the labels have another number of rows.
        Warns:
            UserWarning: If all rows are equal, so that no clip is more unlike the rest than another.
        """
        self.train_ = check_rows(train)
        if len(self.train_) < 2:
            raise StudyError(f"{type(self).__name__} needs at least 2 train clips, got {len(self.train_)}")
        if self.needs_labels and (labels is None or labels.shape[1] == 0):
            raise StudyError(f"{type(self).__name__} needs labels, and no train clip has any: choose another measure")
        if labels is not None and len(labels) != len(train):
            raise ShapeError(f"labels have {len(labels)} rows, the train split {len(train)}")
        if has_equal_rows(self.train_):
            warnings.warn(
                f"the vectors of all {len(train)} train clips are equal (first frames all black, say): similarity says "
                "nothing about them",
                stacklevel=2,
            )
        names = names or [str(k) for k in range(0 if labels is None else labels.shape[1])]
        self._fit(self.train_, labels, names)
        return self

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        raise TypeError(f"{type(self).__name__} defines no _fit")

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Measure new clips.

        Args:
            query: projected vectors of clips that are not in the train split, floating, (Q, d).
        Returns:
            A row a clip, of the type of `query`, (Q, len(columns)).
        Raises:
            FeatureError: If a row is not finite.
        """
        raise TypeError(f"{type(self).__name__} defines no transform")

    def transform_train(self) -> np.ndarray:
        """Measure the train clips themselves, each compared with the others.

        Returns:
            A row a clip, in the order of `fit`, (N, len(columns)).
        """
        return self.transform(self.train_)

    @property
    def columns(self) -> tuple[str, ...]:
        """The name of each column of `transform`."""
        check_fitted(self)
        return self.columns_

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What was learned, by attribute name: the arrays, and all else, which JSON can hold."""
        learned = {name: value for name, value in vars(self).items() if name.endswith("_")}
        arrays = {name: np.ascontiguousarray(v) for name, v in learned.items() if isinstance(v, np.ndarray)}
        return arrays, {name: value for name, value in learned.items() if name not in arrays}

    def restore(self, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> Self:
        """Set what was learned; the inverse of `state`.

        Args:
            arrays: attribute name to array.
            values: attribute name to any other value, as read from JSON.
        """
        for name, value in {**arrays, **values}.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        return self


def has_equal_rows(rows: np.ndarray) -> bool:
    """Whether all rows are the same in the precision that measures compute in, float32.

    Args:
        rows: vectors, (N, d).
    """
    return not np.ptp(rows.astype(np.float32), axis=0).any()


def check_rows(rows: np.ndarray) -> np.ndarray:
    """Check vectors, and convert integers to float64.

    Args:
        rows: vectors, (N, d).
    Returns:
        The vectors, floating, (N, d).
    Raises:
        ShapeError: If they are not two-dimensional.
        FeatureError: If a row is not finite; the message names the first one.
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
