"""Kernel density estimates (measures 4.a, 4.b, 4.c): negative log likelihood under the kernels of train clips.

p(x) = 1 / (n V) sum_k K(x - y_k), K a kernel of integral V: Parzen 1962. Gaussian, as in the paper, or Epanechnikov's,
which reaches no further than its bandwidth: where none does, the density is 0, and its negative logarithm infinite.
"""

from __future__ import annotations

import warnings

import numpy as np

from m3ray.errors import StudyError
from m3ray.similarity.bandwidth import log_volume, search_bandwidth
from m3ray.similarity.base import Measure
from m3ray.similarity.pairwise import Kernel, log_kernel_sums


class _Density(Measure):
    """Negative log likelihood under several densities, each over a group of train clips.

    `members_`, bool, (N, groups), says which clips each density is made of; `bandwidths_`, (groups,), how wide their
    kernels are, each by its own cross-validation.
    """

    def __init__(
        self, bandwidth: float | None = None, seed: int = 0, kernel: Kernel = "gaussian", leave_one_out: bool = True
    ) -> None:
        self.bandwidth = bandwidth
        self.seed = seed
        self.kernel = kernel
        self.leave_one_out = leave_one_out

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.members_, self.columns_ = self._groups(train, labels, names)
        self.bandwidths_ = self._choose_bandwidths(train)
        self._warn_of_lone_clips()
        if self.kernel == "epanechnikov":
            self.ceilings_ = self._find_ceilings(train)

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        raise TypeError(f"{type(self).__name__} defines no _groups")

    def _choose_bandwidths(self, train: np.ndarray) -> np.ndarray:
        """The bandwidth of each group, (groups,); a group of one clip, which says nothing of it, has that of all."""
        if self.bandwidth:
            return np.full(self.members_.shape[1], float(self.bandwidth))
        groups = (train[inside] if inside.sum() > 1 else train for inside in self.members_.T)
        return np.array([search_bandwidth(rows, self.seed, self.kernel) for rows in groups])

    def _warn_of_lone_clips(self) -> None:
        alone = int((self.members_.sum(axis=0) == 1).sum())
        if alone and self.leave_one_out:
            warnings.warn(
                f"{alone} of {self.members_.shape[1]} groups have one train clip, which has no density without itself: "
                "it gets the largest value of the other train clips",
                stacklevel=4,
            )

    def _find_ceilings(self, train: np.ndarray) -> np.ndarray:
        """The largest negative log likelihood of a train clip in each group, beyond which all clips count as far alike.

        Where no kernel reaches any of them, that at a kernel's centre.
        """
        surprise = self._surprise(train, own=self.leave_one_out)
        largest = np.where(np.isfinite(surprise), surprise, -np.inf).max(axis=0)
        alone = np.log(self.members_.sum(axis=0)) + self._log_volumes()
        return np.where(np.isfinite(largest), largest, alone)

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        return self._bound(self._surprise(rows, own=False))

    def _measure_train(self) -> np.ndarray:
        if not self.leave_one_out:
            return self._measure(self._points)
        return self._bound(_fill_lone(self._surprise(self._points, own=True), self.members_))

    def _bound(self, surprise: np.ndarray) -> np.ndarray:
        return surprise if self.kernel == "gaussian" else np.minimum(surprise, self.ceilings_)

    def _surprise(self, rows: np.ndarray, *, own: bool) -> np.ndarray:
        """Negative log density of each row under each group, without its own kernel if the rows are the train clips'.

        Infinite where no kernel reaches, or none is left.
        """
        _, clip = np.nonzero(self.members_.T)
        pairs = np.stack([clip, np.arange(len(clip))], axis=1)[np.argsort(clip, kind="stable")]
        counts = self.members_.sum(axis=0)
        left_out = pairs if own else None
        sums = log_kernel_sums(
            rows, self._points[clip], counts.cumsum(), self._read_bandwidths(), left_out, self.kernel
        )
        kernels = counts - self.members_ if own else counts
        # -log p = log n - log sum_k K(x - y_k) + log V
        return np.log(np.maximum(kernels, 1)) - sums + self._log_volumes()

    def _log_volumes(self) -> np.ndarray:
        return np.array([log_volume(self.kernel, h, self.train_.shape[1]) for h in self._read_bandwidths()])

    def _read_bandwidths(self) -> np.ndarray:
        """The bandwidth of each group; an older version had one for all, `bandwidth_`."""
        own = getattr(self, "bandwidths_", None)
        return np.full(self.members_.shape[1], vars(self)["bandwidth_"]) if own is None else own


def _fill_lone(surprise: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Give a clip that is alone in its group, which has no density without it, the column's largest other value."""
    lone = members & (members.sum(axis=0) == 1)
    largest = np.where(lone, -np.inf, surprise).max(axis=0)
    return np.where(lone, largest, surprise)


class Kde(_Density):
    """4.a: one density over the train split.

    Args:
        bandwidth: h of the kernels, a Gaussian's standard deviation; None to find it by cross-validation.
        seed: seed of the rows and folds of that search.
        kernel: shape of the kernels.
        leave_one_out: whether a train clip's density is that of the others alone.
    """

    table_entry = ("KDE", "training set", "density", "4.a")

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        return np.ones((len(train), 1), bool), ("kde",)


class KdeLabels(_Density):
    """4.b: one density a label with at least `fewest` train clips.

    Args:
        bandwidth: h of the kernels of all labels, a Gaussian's standard deviation; None to find each label's own by
            cross-validation.
        fewest: number of train clips below which a label has no density; 150 in the paper, which leaves 31 labels of
            Memento10k.
        seed: seed of the rows and folds of the search of the bandwidths.
        kernel: shape of the kernels.
        leave_one_out: whether a train clip's density is that of the others alone.
    """

    table_entry = ("KDE", "labels", "density", "4.b")

    needs_labels = True

    def __init__(
        self,
        bandwidth: float | None = None,
        fewest: int = 150,
        seed: int = 0,
        kernel: Kernel = "gaussian",
        leave_one_out: bool = True,
    ) -> None:
        super().__init__(bandwidth, seed, kernel, leave_one_out)
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
        return np.ascontiguousarray(labels[:, frequent]), tuple(f"kde_label_{names[k]}" for k in frequent)


class KdeKmeans(_Density):
    """4.c: one density a k-means cluster.

    Args:
        bandwidth: h of the kernels of all clusters, a Gaussian's standard deviation; None to find each cluster's own by
            cross-validation.
        clusters: number of clusters, 10 in the paper; fewer where there are fewer different clips.
        seed: seed of k-means and of the rows and folds of the search of the bandwidths.
        kernel: shape of the kernels.
        leave_one_out: whether a train clip's density is that of the others alone.
    """

    table_entry = ("KDE", "clusters (k-means)", "density", "4.c")

    def __init__(
        self,
        bandwidth: float | None = None,
        clusters: int = 10,
        seed: int = 0,
        kernel: Kernel = "gaussian",
        leave_one_out: bool = True,
    ) -> None:
        super().__init__(bandwidth, seed, kernel, leave_one_out)
        self.clusters = clusters

    def _groups(
        self, train: np.ndarray, labels: np.ndarray | None, names: list[str]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        from sklearn.cluster import KMeans  # over a second to import: imported where something is fitted

        count = min(self.clusters, len(np.unique(train, axis=0)))
        clusters = KMeans(count, n_init=10, random_state=self.seed).fit_predict(train)
        found = np.unique(clusters)  # fewer than asked for where clips differ by rounding alone
        return clusters[:, None] == found, tuple(f"kde_cluster_{k}" for k in range(len(found)))
