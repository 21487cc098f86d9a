"""The base class of all measures: an estimator that says how unlike the train split a clip is."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np

from m3ray.errors import FeatureError, ShapeError, StudyError
from m3ray.similarity.estimator import Estimator, check_fitted

_PLAIN_EXPONENT = 20  # of two: vectors of about a millionth to a million are taken as they are


class Measure(Estimator):
    """How unlike the train split a clip is, in one or several columns.

    As in scikit-learn, the constructor stores settings, `fit` learns, and a trailing underscore marks what was learned.
    Subclasses write `_fit`, which sets `columns_`, and `_measure`; and `_measure_train` where a train clip must not be
    its own neighbour. Those get float64 and return it; what they return is checked, and of the query's type.
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
        labels = None if labels is None else np.asarray(labels, bool)
        names = names or [str(k) for k in range(0 if labels is None else labels.shape[1])]
        self._fit(self._points, labels, names)
        return self

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        raise TypeError(f"{type(self).__name__} defines no _fit")

    def transform(self, query: np.ndarray) -> np.ndarray:
        """Measure new clips.

        Args:
            query: projected vectors of clips that are not in the train split, (Q, d).
        Returns:
            A row a clip, of the type of `query`, float64 where that is integers, (Q, len(columns)).
        Raises:
            FeatureError: If a row is not finite, or lies so far away that a result is too large for the type.
            ShapeError: If the rows have another width than the train clips.
        """
        rows = check_rows(query)
        width = getattr(self, "train_", rows).shape[1]
        if rows.shape[1] != width:
            raise ShapeError(f"expected {width} columns as the train clips have, got {rows.shape[1]}")
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return round_to(self._measure(rows.astype(np.float64)), rows.dtype)

    def transform_train(self) -> np.ndarray:
        """Measure the train clips themselves, each compared with the others.

        Returns:
            A row a clip, in the order of `fit` and of its type, (N, len(columns)).
        Raises:
            FeatureError: If a result is too large for the type.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return round_to(self._measure_train(), self.train_.dtype)

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        """Measure clips in float64, (Q, d) to (Q, len(columns))."""
        raise TypeError(f"{type(self).__name__} defines no transform")

    def _measure_train(self) -> np.ndarray:
        """Measure the train clips in float64, (N, len(columns)); as new ones unless a subclass says otherwise."""
        return self.transform(self.train_)

    @property
    def _points(self) -> np.ndarray:
        """The train clips in float64, (N, d)."""
        return self.train_.astype(np.float64, copy=False)

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
    """Whether all rows are the same but for differences of float32's rounding.

    Args:
        rows: vectors, (N, d).
    """
    return not np.ptp(_round_rows(rows), axis=0).any()


def count_distinct_rows(rows: np.ndarray) -> int:
    """The number of rows that differ by more than float32's rounding.

    Args:
        rows: vectors, (N, d).
    """
    return len(np.unique(_round_rows(rows), axis=0))


def _round_rows(rows: np.ndarray) -> np.ndarray:
    """Rows in float32, scaled so that neither large nor small numbers leave its range."""
    return scale_rows(rows, -_largest_exponent(rows)).astype(np.float32)


def scaling_exponent(rows: np.ndarray) -> int:
    """The power of two that brings rows near 1, for what would overflow with them, or see only zeros.

    Args:
        rows: vectors, (N, d).
    Returns:
        Exponent for `scale_rows`; 0 where the largest number is between 2^-20 and 2^20, so that it stays as it is.
    """
    exponent = _largest_exponent(rows)
    return -exponent if abs(exponent) > _PLAIN_EXPONENT else 0


def _largest_exponent(rows: np.ndarray) -> int:
    """The power of two just above all numbers of the rows; 0 where there are only zeros."""
    return int(np.frexp(np.abs(rows.astype(np.float64)).max(initial=0.0))[1])


def scale_rows(rows: np.ndarray, exponent: int) -> np.ndarray:
    """Multiply by a power of two, which rounds nothing.

    Args:
        rows: vectors, (N, d).
        exponent: of two.
    Returns:
        float64, (N, d).
    """
    return np.ldexp(rows.astype(np.float64), exponent)


def round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert results to a type that may be too small for them.

    Args:
        values: a row a clip, float64, (Q, k).
        dtype: floating type.
    Returns:
        The values, (Q, k).
    Raises:
        FeatureError: If one is not a number, or too large for the type; the message names the first row.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    bad = np.flatnonzero(~np.isfinite(rounded).all(axis=1))
    if len(bad):
        raise FeatureError(
            f"{len(bad)} rows lie so far from the train clips that their similarity is no number of {np.dtype(dtype)}, "
            f"the first is row {bad[0]}: drop or recompute these clips, or give a wider type"
        )
    return rounded


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
