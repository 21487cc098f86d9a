"""Kernel density estimates (measures 4.a, 4.b, 4.c): negative log likelihood under Gaussian kernels.

p(x) = 1 / (n (2 pi h^2)^(d/2)) sum_k exp(-|x - y_k|^2 / 2h^2), h the bandwidth: Parzen 1962.
"""

from __future__ import annotations

import math

import numpy as np

from m3ray.errors import StudyError
from m3ray.similarity.base import Measure, check_rows
from m3ray.similarity.pairwise import log_kernel_sums

_SEARCH_ROWS = 1_500  # a bandwidth is one number: more rows would not move it
_BANDWIDTHS = np.geomspace(0.05, 2.0, 16)


def search_bandwidth(train: np.ndarray, seed: int) -> float:
    """Search the bandwidth of highest held-out likelihood by cross-validation with five folds.

    Args:
        train: whitened vectors of the train clips, (N, d); at most 1,500 of them are drawn.
        seed: seed of the draw.
    Returns:
        Standard deviation of the kernels, one of 16 between 0.05 and 2.
    """
    # scikit-learn, over a second to import, is imported where something is fitted: a scorer applies what was.
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    rng = np.random.default_rng(seed)
    rows = train if len(train) <= _SEARCH_ROWS else train[rng.choice(len(train), _SEARCH_ROWS, replace=False)]
    folds = min(5, len(rows))
    # Whitened data have deviation 1, so a fixed grid covers them.
    search = GridSearchCV(KernelDensity(), {"bandwidth": _BANDWIDTHS}, cv=folds).fit(rows)
    return float(search.best_params_["bandwidth"])


class _Density(Measure):
    """Negative log likelihood under several densities, each over a group of train clips.

    `members_`, bool, (N, groups), says which clips each density is made of.
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
        """Negative log likelihood of each clip under each density.

        Args:
            query: projected vectors of new clips, floating, (Q, d).
        Returns:
            (Q, densities).
        """
        return self._surprise(check_rows(query), leave_one_out=False)

    def transform_train(self) -> np.ndarray:
        """Negative log likelihood of each train clip under each density without the clip's own kernel.

        Returns:
            (N, densities).
        """
        return self._surprise(self.train_, leave_one_out=True)

    def _surprise(self, rows: np.ndarray, *, leave_one_out: bool) -> np.ndarray:
        """Negative log density of each row under each group; `leave_one_out` is for the train rows themselves."""
        _, clip = np.nonzero(self.members_.T)
        own = np.stack([clip, np.arange(len(clip))], axis=1)[np.argsort(clip, kind="stable")]
        counts = self.members_.sum(axis=0)
        sums = log_kernel_sums(
            rows, self.train_[clip], counts.cumsum(), self.bandwidth_, own if leave_one_out else None
        )
        kernels = counts - self.members_ if leave_one_out else counts
        # -log p = log n - log sum_k exp(...) + d/2 log(2 pi h^2)
        normaliser = rows.shape[1] / 2 * math.log(2 * math.pi * self.bandwidth_**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            surprise = np.log(kernels) - sums + normaliser
        return _finite(surprise).astype(rows.dtype)


def _finite(surprise: np.ndarray) -> np.ndarray:
    """Give a clip that is alone in its group, which has no density without it, the column's largest finite value."""
    for column in surprise.T:
        bad = ~np.isfinite(column)
        if bad.any():
            column[bad] = column[~bad].max(initial=0.0)
    return surprise


class Kde(_Density):
    """4.a: one density over the train split.

    Args:
        bandwidth: standard deviation of the Gaussian kernels; None to find it by cross-validation.
        seed: seed of the rows that are drawn for that search.
    """

    table_entry = ("KDE", "training set", "density", "4.a")

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        return np.ones((len(train), 1), bool), ("kde",)


class KdeLabels(_Density):
    """4.b: one density a label with at least `fewest` train clips.

    Args:
        bandwidth: standard deviation of the Gaussian kernels; None to find it by cross-validation.
        fewest: number of train clips below which a label has no density; 150 in the paper, which leaves 31 labels of
            Memento10k.
        seed: seed of the rows that are drawn for the search of the bandwidth.
    """

    table_entry = ("KDE", "labels", "density", "4.b")

    needs_labels = True

    def __init__(self, bandwidth: float | None = None, fewest: int = 150, seed: int = 0) -> None:
        super().__init__(bandwidth, seed)
        self.fewest = fewest

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        assert labels is not None
        counts = labels.sum(axis=0)
        frequent = np.flatnonzero(counts >= max(2, self.fewest))
        if not len(frequent):
            raise StudyError(
                f"no label has {max(2, self.fewest)} train clips, the most frequent has {counts.max(initial=0)}: "
                "lower `fewest`, or choose another measure"
            )
        return np.asarray(labels[:, frequent], bool), tuple(f"kde_label_{names[k]}" for k in frequent)


class KdeKmeans(_Density):
    """4.c: one density a k-means cluster.

    Args:
        bandwidth: standard deviation of the Gaussian kernels; None to find it by cross-validation.
        clusters: number of clusters, 10 in the paper; fewer where there are fewer different clips.
        seed: seed of k-means and of the rows that are drawn for the search of the bandwidth.
    """

    table_entry = ("KDE", "clusters (k-means)", "density", "4.c")

    def __init__(self, bandwidth: float | None = None, clusters: int = 10, seed: int = 0) -> None:
        super().__init__(bandwidth, seed)
        self.clusters = clusters

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        from sklearn.cluster import KMeans

        count = min(self.clusters, len(np.unique(train, axis=0)))
        clusters = KMeans(count, n_init=10, random_state=self.seed).fit_predict(train)
        return clusters[:, None] == np.arange(count), tuple(f"kde_cluster_{k}" for k in range(count))
