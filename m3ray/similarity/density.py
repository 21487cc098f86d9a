"""Kernel density estimates (4.a, 4.b, 4.c): negative log likelihood under Gaussian kernels."""

from __future__ import annotations

import math

import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from m3ray.errors import StudyError
from m3ray.similarity.base import Measure, blocks, checked

_SEARCH_ROWS = 1_500  # a bandwidth is one number: more rows would not move it
_BANDWIDTHS = np.geomspace(0.05, 2.0, 16)


def search_bandwidth(train: np.ndarray, seed: int) -> float:
    """The bandwidth of highest held-out likelihood, five folds, on at most 1,500 rows."""
    rng = np.random.default_rng(seed)
    rows = train if len(train) <= _SEARCH_ROWS else train[rng.choice(len(train), _SEARCH_ROWS, replace=False)]
    folds = min(5, len(rows))
    # Whitened data have deviation 1, so a fixed grid covers them.
    search = GridSearchCV(KernelDensity(), {"bandwidth": _BANDWIDTHS}, cv=folds).fit(rows)
    return float(search.best_params_["bandwidth"])


class _Density(Measure):
    """Negative log likelihood under several densities, each over a group of train clips.

    `members_` is (N, groups): which clips each density is made of.
    """

    def __init__(self, bandwidth: float | None = None, seed: int = 0) -> None:
        self.bandwidth = bandwidth
        self.seed = seed

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.bandwidth_ = self.bandwidth or search_bandwidth(train, self.seed)
        self.members_, self.columns_ = self._groups(train, labels, names)

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        raise TypeError(f"{type(self).__name__} defines no _groups")

    def transform(self, query: np.ndarray) -> np.ndarray:
        query = checked(query)
        return self._surprise(query, np.full(len(query), -1))

    def transform_train(self) -> np.ndarray:
        return self._surprise(self.train_, np.arange(len(self.train_)))

    def _surprise(self, rows: np.ndarray, itself: np.ndarray) -> np.ndarray:
        """-log density of each row under each group; `itself` is the train row to leave out, -1 for none."""
        out = np.empty((len(rows), self.members_.shape[1]), rows.dtype)
        for part in blocks(len(rows), len(self.train_)):
            logs = _log_kernels(rows[part], self.train_, self.bandwidth_)
            own = np.flatnonzero(itself[part] >= 0)
            logs[own, itself[part][own]] = -np.inf
            for group in range(out.shape[1]):
                out[part, group] = -_log_mean(logs, self.members_[:, group], itself[part])
        normaliser = rows.shape[1] / 2 * math.log(2 * math.pi * self.bandwidth_**2)
        return _finite(out) + normaliser


def _log_kernels(rows: np.ndarray, train: np.ndarray, bandwidth: float) -> np.ndarray:
    """-|x - y|^2 / 2h^2 for every pair, by differences: exact for duplicates, where the expanded square is not."""
    squares = np.zeros((len(rows), len(train)), rows.dtype)
    for k in range(rows.shape[1]):
        gap = rows[:, k, None] - train[None, :, k]
        squares += np.square(gap, out=gap)
    squares *= -0.5 / bandwidth**2
    return squares


def _log_mean(logs: np.ndarray, members: np.ndarray, itself: np.ndarray) -> np.ndarray:
    """log of the mean kernel over a group, each row's own kernel (already -inf) not counted."""
    inside = logs if members.all() else logs[:, members]
    count = members.sum() - (members[itself] & (itself >= 0))
    top = inside.max(axis=1, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(inside - safe).sum(axis=1)) + safe[:, 0] - np.log(count)


def _finite(surprise: np.ndarray) -> np.ndarray:
    """A group of one has no density without its clip: that clip gets the column's largest finite value."""
    for column in surprise.T:
        bad = ~np.isfinite(column)
        if bad.any():
            column[bad] = column[~bad].max(initial=0.0)
    return surprise


class Kde(_Density):
    """4.a: one density over the train split.

    Args:
        bandwidth: of the Gaussian kernel; None: by cross-validation.
        seed: of the rows drawn for the search.
    """

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        return np.ones((len(train), 1), bool), ("kde",)


class KdeLabels(_Density):
    """4.b: one density a label with at least `fewest` train clips.

    Args:
        bandwidth: of the Gaussian kernel; None: by cross-validation.
        fewest: 150 in the paper, which leaves 31 labels of Memento10k.
        seed: of the rows drawn for the search.
    """

    needs_labels = True

    def __init__(self, bandwidth: float | None = None, fewest: int = 150, seed: int = 0) -> None:
        super().__init__(bandwidth, seed)
        self.fewest = fewest

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        assert labels is not None
        counts = labels.sum(axis=0)
        kept = np.flatnonzero(counts >= max(2, self.fewest))
        if not len(kept):
            raise StudyError(
                f"no label has {max(2, self.fewest)} train clips, the most frequent has {counts.max(initial=0)}: "
                "lower `fewest`, or choose another measure"
            )
        return np.asarray(labels[:, kept], bool), tuple(f"kde_label_{names[k]}" for k in kept)


class KdeKmeans(_Density):
    """4.c: one density a k-means cluster.

    Args:
        bandwidth: of the Gaussian kernel; None: by cross-validation.
        clusters: 10 in the paper.
        seed: of k-means and of the rows drawn for the search.
    """

    def __init__(self, bandwidth: float | None = None, clusters: int = 10, seed: int = 0) -> None:
        super().__init__(bandwidth, seed)
        self.clusters = clusters

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        clusters = min(self.clusters, len(np.unique(train, axis=0)))
        found = KMeans(clusters, n_init=10, random_state=self.seed).fit_predict(train)
        return found[:, None] == np.arange(clusters), tuple(f"kde_cluster_{k}" for k in range(clusters))
