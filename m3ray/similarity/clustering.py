"""DBSCAN in the t-SNE plane (measure 5): which cluster of the train split a clip belongs to."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from m3ray.errors import FeatureError, StudyError
from m3ray.similarity.base import (
    Measure,
    check_rows,
    count_distinct_rows,
    has_equal_rows,
    scale_rows,
    scaling_exponent,
)

# scikit-learn, over a second to import, is imported where something is fitted: a scorer applies what was.
if TYPE_CHECKING:
    from sklearn.neural_network import MLPClassifier

NOISE = -1
_DIMENSIONS = 3  # of the t-SNE plane, at most
_FEWEST = 4  # different clips: with fewer t-SNE's perplexity, a third of a clip's neighbours, is under its least, 1
_DOMINANT = 0.97  # share of clips in one cluster from which on clusters hardly tell clips apart


class Dbscan(Measure):
    """5: one-hot cluster of a clip, found by DBSCAN after t-SNE to three dimensions; noise has a column of its own.

    Fewer components than three are embedded in as many dimensions as there are. DBSCAN cannot assign a new clip, so an
    MLP learns the cluster ids from PCA's components (the supplement, A.3).

    Args:
        eps: radius of a neighbourhood, in units of the t-SNE plane; the paper's 1.25 (scene) and 0.9 (event) suit its
            7,000 clips; `auto` for the knee of the k-distance curve.
        perplexity: perplexity of t-SNE, 30 in the paper; lowered to (N - 1) / 3 where clips are few.
        min_samples: how many clips make a neighbourhood dense; 5 is scikit-learn's default.
        seed: seed of t-SNE and of the MLP.
        noise_column: whether noise has a column; else a clip in no cluster has 0 in all, as in the authors' code.
    """

    table_entry = ("DBSCAN", "training set", "clustering", "5")

    one_hot = True

    exponent_ = 0  # an older version did not scale

    def __init__(
        self,
        eps: float | Literal["auto"] = "auto",
        perplexity: float = 30.0,
        min_samples: int = 5,
        seed: int = 0,
        noise_column: bool = True,
    ) -> None:
        self.eps = eps
        self.perplexity = perplexity
        self.min_samples = min_samples
        self.seed = seed
        self.noise_column = noise_column

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        check_distinct(train)
        self.perplexity_ = float(min(self.perplexity, (len(train) - 1) / 3))
        self.exponent_ = scaling_exponent(train)
        train = scale_rows(train, self.exponent_)
        self.plane_ = embed_tsne(train, self.perplexity_, self.seed)
        self.eps_ = choose_eps(self.plane_, self.min_samples) if self.eps == "auto" else float(self.eps)
        self.clusters_ = _find_clusters(self.plane_, self.eps_, self.min_samples)
        found = np.unique(self.clusters_[self.clusters_ != NOISE])
        self.ids_ = np.append(found, NOISE) if self.noise_column else found
        self.columns_ = (*(f"dbscan_cluster_{k}" for k in found), *(["dbscan_noise"] if self.noise_column else []))
        self.noise_share_ = float(np.mean(self.clusters_ == NOISE))
        self.largest_share_ = float(np.unique(self.clusters_, return_counts=True)[1].max() / len(train))
        self._check_clusters(len(found))
        self._fit_predictor(train)

    def _check_clusters(self, count: int) -> None:
        """Refuse a tier without columns; warn of one that hardly tells clips apart."""
        if not self.columns_:
            raise StudyError(
                f"DBSCAN found no cluster at eps {self.eps_:.3g}, and noise has no column: give a larger eps, or "
                "choose another measure"
            )
        if (count <= 1 or self.largest_share_ >= _DOMINANT) and not has_equal_rows(self.train_):
            warnings.warn(
                f"DBSCAN found {count} cluster(s) and {self.noise_share_:.0%} noise at eps {self.eps_:.3g}, "
                f"{self.largest_share_:.0%} of the clips alike: such a similarity tier hardly tells clips apart; try "
                "another eps or another measure",
                stacklevel=4,
            )

    def _fit_predictor(self, train: np.ndarray) -> None:
        """Fit the MLP on all train clips; its accuracy is that of one fitted on four fifths, on the last fifth."""
        self.predictor_accuracy_ = self._evaluate_predictor(train)
        if len(np.unique(self.clusters_)) == 1:
            # scikit-learn rejects a single class; zero weights predict it.
            self.weights_0_, self.bias_0_ = np.zeros((train.shape[1], 1)), np.zeros(1)
            self.weights_1_, self.bias_1_ = np.zeros((1, 1)), np.zeros(1)
            self.classes_ = np.unique(self.clusters_)
            return
        predictor = self._make_predictor().fit(train, self.clusters_)
        self.weights_0_, self.weights_1_ = predictor.coefs_
        self.bias_0_, self.bias_1_ = predictor.intercepts_
        self.classes_ = predictor.classes_

    def _make_predictor(self) -> MLPClassifier:
        from sklearn.neural_network import MLPClassifier

        # No early stopping: accuracy on the train clips is the aim, as clusters are a function of these very points.
        return MLPClassifier((100,), max_iter=1000, early_stopping=False, random_state=self.seed)

    def _evaluate_predictor(self, train: np.ndarray) -> float | None:
        """Share of the last fifth that is predicted right; None where a fifth is too small to mean anything."""
        if len(train) < 25 or len(np.unique(self.clusters_)) == 1:
            return None
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.model_selection import train_test_split

        x, x_held, y, y_held = train_test_split(train, self.clusters_, test_size=0.2, random_state=self.seed)
        if len(np.unique(y)) == 1:
            return float(np.mean(y_held == y[0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(self._make_predictor().fit(x, y).score(x_held, y_held))

    def predict(self, query: np.ndarray) -> np.ndarray:
        """Predict the clusters of new clips.

        Args:
            query: projected vectors of new clips, floating, (Q, d).
        Returns:
            Cluster ids, -1 for noise as in scikit-learn, (Q,).
        """
        # scores = max(0, x W0 + b0) W1 + b1, the MLP's one hidden layer
        rows = scale_rows(check_rows(query), self.exponent_)
        with np.errstate(over="ignore", invalid="ignore"):
            scores = np.maximum(rows @ self.weights_0_ + self.bias_0_, 0) @ self.weights_1_ + self.bias_1_
        bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(bad):
            raise FeatureError(
                f"{len(bad)} rows are too far from every cluster to be computed, the first is row {bad[0]}"
            )
        if scores.shape[1] == 1:  # scikit-learn gives two classes one output
            return (
                self.classes_[(scores[:, 0] > 0).astype(int)]
                if len(self.classes_) == 2
                else np.full(len(scores), self.classes_[0])
            )
        return self.classes_[scores.argmax(axis=1)]

    def _measure(self, rows: np.ndarray) -> np.ndarray:
        return self._encode(self.predict(rows))

    def _measure_train(self) -> np.ndarray:
        """The cluster that DBSCAN gave each train clip, one-hot, as in the paper."""
        return self._encode(self.clusters_)

    def _encode(self, clusters: np.ndarray) -> np.ndarray:
        return (clusters[:, None] == self.ids_).astype(np.float64)


def cluster_rows(
    train: np.ndarray, seed: int = 0, perplexity: float = 30.0, min_samples: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Embed and cluster clips as the measure does, without learning to assign new ones.

    Args:
        train: projected vectors of the clips, floating, (N, d), of at least four different rows or all equal.
        seed: seed of t-SNE.
        perplexity: perplexity of t-SNE; lowered to (N - 1) / 3 where clips are few.
        min_samples: how many clips make a neighbourhood dense.
    Returns:
        The clips in the t-SNE space, (N, min(3, d)), and the cluster of each, -1 for none, (N,).
    """
    rows = scale_rows(train, scaling_exponent(train))
    plane = embed_tsne(rows, float(min(perplexity, (len(rows) - 1) / 3)), seed)
    return plane, _find_clusters(plane, choose_eps(plane, min_samples), min_samples)


def check_distinct(train: np.ndarray) -> None:
    """Check that there are as many different rows as t-SNE needs; rows that are all equal need none.

    Args:
        train: projected vectors of the train clips, (N, d).
    Raises:
        StudyError: If there are two or three.
    """
    distinct = count_distinct_rows(train)
    if 1 < distinct < _FEWEST:
        raise StudyError(
            f"DBSCAN needs {_FEWEST} different train clips for t-SNE to place, got {distinct} among {len(train)}: add "
            "clips, or choose another measure (--measure fractional_mean for instance)"
        )


def embed_tsne(train: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Embed the train split in three dimensions, or in as many as it has, by t-SNE (van der Maaten and Hinton 2008).

    Rows that are all equal are returned as they are, as scikit-learn's t-SNE would divide by their deviation, 0.

    Args:
        train: projected vectors of the train clips, floating, (N, d), of at least four different rows or all equal.
        perplexity: perplexity of t-SNE, below N.
        seed: seed of t-SNE.
    Returns:
        float32, (N, min(3, d)).
    """
    dimensions = min(_DIMENSIONS, train.shape[1])
    if has_equal_rows(train):
        return train[:, :dimensions].astype(np.float32)
    from sklearn.manifold import TSNE

    return TSNE(dimensions, perplexity=perplexity, init="pca", random_state=seed).fit_transform(train)


def choose_eps(plane: np.ndarray, min_samples: int) -> float:
    """Choose DBSCAN's eps from the data: the knee of the k-distance curve (Ester et al. 1996).

    Few clips fill the t-SNE plane evenly, so that the curve has no knee and its eps joins them all. Then it is the
    largest decile of the curve that leaves two clusters or more and at most half of the clips as noise; where none
    does, the knee.

    Args:
        plane: embedded clips, (N, dimensions).
        min_samples: how many clips make a neighbourhood dense.
    Returns:
        Radius of a neighbourhood, in units of the plane, above 0.
    """
    knee = knee_distance(plane, min_samples)
    if _count_clusters(plane, knee, min_samples)[0] > 1:
        return knee
    for eps in np.quantile(k_distances(plane, min_samples), np.arange(0.9, 0, -0.1)):
        count, noise = _count_clusters(plane, float(eps), min_samples)
        if count > 1 and noise <= 0.5:
            return float(eps)
    return knee


def _find_clusters(plane: np.ndarray, eps: float, min_samples: int) -> np.ndarray:
    """DBSCAN's cluster of each point, (N,)."""
    from sklearn.cluster import DBSCAN

    return DBSCAN(eps=eps, min_samples=min_samples).fit_predict(plane)


def _count_clusters(plane: np.ndarray, eps: float, min_samples: int) -> tuple[int, float]:
    """The number of clusters that DBSCAN finds, and the share of noise."""
    clusters = _find_clusters(plane, max(eps, float(np.finfo(np.float32).tiny)), min_samples)
    return len(set(clusters.tolist()) - {NOISE}), float(np.mean(clusters == NOISE))


def k_distances(plane: np.ndarray, neighbours: int) -> np.ndarray:
    """The distance of each point to its k-th neighbour, ascending.

    Args:
        plane: embedded clips, (N, dimensions).
        neighbours: k; with fewer points, the furthest one.
    Returns:
        (N,).
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(neighbours + 1, len(plane))
    return np.sort(NearestNeighbors(n_neighbors=count).fit(plane).kneighbors(plane)[0][:, -1])


def knee_distance(plane: np.ndarray, neighbours: int) -> float:
    """The knee of the k-distance curve: the point that lies furthest below the chord between its ends.

    Args:
        plane: embedded clips, (N, dimensions).
        neighbours: k.
    Returns:
        Distance to the k-th neighbour at the knee, above 0.
    """
    curve = k_distances(plane, neighbours)
    chord = np.linspace(curve[0], curve[-1], len(curve))
    return float(max(curve[np.argmax(chord - curve)], np.finfo(np.float32).tiny))
