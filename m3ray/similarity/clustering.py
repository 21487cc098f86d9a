"""DBSCAN in the t-SNE plane (5): which cluster of the train split a clip belongs to."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier

from m3ray.similarity.base import Measure, all_equal, checked

NOISE = -1
_DIMENSIONS = 3  # of the t-SNE plane


class Dbscan(Measure):
    """5: PCA's components -> t-SNE in three dimensions -> DBSCAN -> one-hot cluster; noise has a column.

    DBSCAN cannot place a new clip, so an MLP learns cluster ids from the components (the supplement, A.3).

    Args:
        eps: neighbourhood in units of the t-SNE plane; the paper's 1.25 (scene) and 0.9 (event) suit its 7,000 clips;
            `auto`: knee of the k-distance curve.
        perplexity: of t-SNE, 30 in the paper; lowered to (N - 1) / 3 on small data.
        min_samples: DBSCAN's, scikit-learn's default.
        seed: of t-SNE and of the predictor.
    """

    printed = ("DBSCAN", "training set", "clustering", "5")

    one_hot = True

    def __init__(
        self, eps: float | Literal["auto"] = "auto", perplexity: float = 30.0, min_samples: int = 5, seed: int = 0
    ) -> None:
        self.eps = eps
        self.perplexity = perplexity
        self.min_samples = min_samples
        self.seed = seed

    def _fit(self, train: np.ndarray, labels: np.ndarray | None, names: list[str]) -> None:
        self.perplexity_ = float(min(self.perplexity, (len(train) - 1) / 3))
        self.plane_ = embedded(train, self.perplexity_, self.seed)
        self.eps_ = auto_eps(self.plane_, self.min_samples) if self.eps == "auto" else float(self.eps)
        self.clusters_ = DBSCAN(eps=self.eps_, min_samples=self.min_samples).fit_predict(self.plane_)
        self.ids_ = np.append(np.unique(self.clusters_[self.clusters_ != NOISE]), NOISE)
        self.columns_ = (*(f"dbscan_cluster_{k}" for k in self.ids_[:-1]), "dbscan_noise")
        self.noise_share_ = float(np.mean(self.clusters_ == NOISE))
        self._warn_if_degenerate()
        self._fit_predictor(train)

    def _warn_if_degenerate(self) -> None:
        if len(self.ids_) <= 2 and not all_equal(self.train_):
            warnings.warn(
                f"DBSCAN found {len(self.ids_) - 1} cluster(s) and {self.noise_share_:.0%} noise at eps {self.eps_:.3g}"
                ": the similarity tier says little; try another eps or another measure",
                stacklevel=3,
            )

    def _fit_predictor(self, train: np.ndarray) -> None:
        """Fits the MLP on all train clips; its accuracy is that of one fitted on four fifths, on the last fifth."""
        self.predictor_accuracy_ = self._held_out_accuracy(train)
        if len(np.unique(self.clusters_)) == 1:
            # A classifier of one class has nothing to learn.
            outputs = 1
            self.weights_0_, self.bias_0_ = np.zeros((train.shape[1], 1)), np.zeros(1)
            self.weights_1_, self.bias_1_ = np.zeros((1, outputs)), np.zeros(outputs)
            self.classes_ = np.unique(self.clusters_)
            return
        predictor = self._predictor().fit(train, self.clusters_)
        self.weights_0_, self.weights_1_ = predictor.coefs_
        self.bias_0_, self.bias_1_ = predictor.intercepts_
        self.classes_ = predictor.classes_

    def _predictor(self) -> MLPClassifier:
        # Training accuracy is the aim: the clusters are a function of these very points.
        return MLPClassifier((100,), max_iter=1000, early_stopping=False, random_state=self.seed)

    def _held_out_accuracy(self, train: np.ndarray) -> float | None:
        """None where a fifth would be too small to mean anything."""
        if len(train) < 25 or len(np.unique(self.clusters_)) == 1:
            return None
        x, x_held, y, y_held = train_test_split(train, self.clusters_, test_size=0.2, random_state=self.seed)
        if len(np.unique(y)) == 1:
            return float(np.mean(y_held == y[0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(self._predictor().fit(x, y).score(x_held, y_held))

    def predict(self, query: np.ndarray) -> np.ndarray:
        """Cluster ids of new clips, -1 for noise: (Q,)."""
        hidden = np.maximum(checked(query) @ self.weights_0_ + self.bias_0_, 0)
        scores = hidden @ self.weights_1_ + self.bias_1_
        if scores.shape[1] == 1:  # scikit-learn gives two classes one output
            return (
                self.classes_[(scores[:, 0] > 0).astype(int)]
                if len(self.classes_) == 2
                else np.full(len(scores), self.classes_[0])
            )
        return self.classes_[scores.argmax(axis=1)]

    def transform(self, query: np.ndarray) -> np.ndarray:
        return self._encoded(self.predict(query))

    def transform_train(self) -> np.ndarray:
        # Train clips have the cluster that DBSCAN gave them, as in the paper.
        return self._encoded(self.clusters_)

    def _encoded(self, clusters: np.ndarray) -> np.ndarray:
        return (clusters[:, None] == self.ids_).astype(self.train_.dtype)


def embedded(train: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """The t-SNE plane (three dimensions) of the train split.

    Rows that are all equal have no neighbours to keep: scikit-learn's t-SNE divides by their deviation, 0, and dies.
    They stay where they are, as do rows too few to span the plane.
    """
    missing = max(0, _DIMENSIONS - train.shape[1])
    rows = np.pad(train, ((0, 0), (0, missing)))
    if len(rows) <= _DIMENSIONS or all_equal(rows):
        return rows[:, :_DIMENSIONS].astype(np.float32)
    return TSNE(_DIMENSIONS, perplexity=perplexity, init="pca", random_state=seed).fit_transform(rows)


def auto_eps(plane: np.ndarray, min_samples: int) -> float:
    """eps read off the data: the knee of the k-distance curve.

    Few clips fill the t-SNE plane evenly, so that the curve has no knee and its eps joins them all. Then the largest
    decile of the curve that leaves two clusters or more and at most half the clips as noise; where none does, the knee.
    """
    knee = knee_distance(plane, min_samples)
    if _clusters(plane, knee, min_samples)[0] > 1:
        return knee
    for eps in np.quantile(k_distances(plane, min_samples), np.arange(0.9, 0, -0.1)):
        count, noise = _clusters(plane, float(eps), min_samples)
        if count > 1 and noise <= 0.5:
            return float(eps)
    return knee


def _clusters(plane: np.ndarray, eps: float, min_samples: int) -> tuple[int, float]:
    """How many clusters DBSCAN finds, and the share of noise."""
    found = DBSCAN(eps=max(eps, np.finfo(np.float32).tiny), min_samples=min_samples).fit_predict(plane)
    return len(set(found.tolist()) - {NOISE}), float(np.mean(found == NOISE))


def k_distances(plane: np.ndarray, neighbours: int) -> np.ndarray:
    """Each point's distance to its k-th neighbour, ascending."""
    count = min(neighbours + 1, len(plane))
    return np.sort(NearestNeighbors(n_neighbors=count).fit(plane).kneighbors(plane)[0][:, -1])


def knee_distance(plane: np.ndarray, neighbours: int) -> float:
    """eps at the knee of the sorted distances to the k-th neighbour: where they leave the chord furthest."""
    curve = k_distances(plane, neighbours)
    chord = np.linspace(curve[0], curve[-1], len(curve))
    return float(max(curve[np.argmax(chord - curve)], np.finfo(np.float32).tiny))
