"""Similarity measures: speed against a plain NumPy and scikit-learn implementation, and equal results.

7,000 train and 1,500 query rows of 10 components, 31 labels: fit, transform of the query and leave-one-out rows of the
train split, for each measure. The reference is plain scikit-learn (KernelDensity, cosine_similarity,
KMeans) and NumPy broadcasting in blocks of 100 rows; its densities are made leave-one-out by subtracting each row's own
kernel. DBSCAN is almost all t-SNE, the same scikit-learn on both sides: its time is reported, not compared.
Bandwidths are given above; their search by cross-validation follows, against scikit-learn's GridSearchCV on the same
folds. Then the growth of ours with the train split, and its peak memory, each in a process of its own.

    python benchmarks/similarity.py [--train 7000] [--query 1500] [--rounds 2] [--growth 1000 4000 16000] [--no-dbscan]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.neighbors import KernelDensity, NearestNeighbors

from m3ray.similarity import MEASURES
from m3ray.similarity.bandwidth import BANDWIDTHS, draw_folds, search_bandwidth
from m3ray.similarity.pairwise import device

LABELS, BANDWIDTH = 31, 0.5
SETTINGS: dict[str, dict[str, Any]] = {
    "kde": {"bandwidth": BANDWIDTH},
    "kde_labels": {"bandwidth": BANDWIDTH, "fewest": 2},
    "kde_kmeans": {"bandwidth": BANDWIDTH},
    "dbscan": {"eps": "auto"},
}
Rows = tuple[np.ndarray, np.ndarray]


def make_data(train: int, query: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make whitened mixtures with one centre a label: train and query rows, and the train labels, bool (N, labels)."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((LABELS, 10))
    kinds = rng.integers(0, LABELS, train + query)
    rows = centres[kinds] + 0.5 * rng.standard_normal((train + query, 10))
    rows = (rows - rows[:train].mean(0)) / rows[:train].std(0)
    return rows[:train], rows[train:], kinds[:train, None] == np.arange(LABELS)


def apply_in_blocks(function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    return np.concatenate([function(rows[k : k + 100]) for k in range(0, len(rows), 100)])


def fractional_distance(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (np.abs(rows[:, None] - others[None]) ** 0.5).sum(-1) ** 2


def plain_fractional_mean(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    own = apply_in_blocks(lambda rows: fractional_distance(rows, train).sum(1), train) / (len(train) - 1)
    return apply_in_blocks(lambda rows: fractional_distance(rows, train).mean(1), query)[:, None], own[:, None]


def compute_prototypes(train: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([train[column].mean(0) for column in labels.T])


def without_own(labels: np.ndarray) -> np.ndarray:
    """How much further a row is from the mean of the others that bear its labels: n / (n - 1) times."""
    counts = labels.sum(0)
    return np.where(labels, counts / (counts - 1), 1.0)


def plain_fractional_prototypes(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    means = compute_prototypes(train, labels)
    return fractional_distance(query, means), fractional_distance(train, means) * without_own(labels)


def plain_euclidean_prototypes(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    means = compute_prototypes(train, labels)
    return np.linalg.norm(query[:, None] - means, axis=-1), np.linalg.norm(
        train[:, None] - means, axis=-1
    ) * without_own(labels)


def plain_cosine_mean(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    own = (apply_in_blocks(lambda rows: cosine_similarity(rows, train).sum(1), train) - 1) / (len(train) - 1)
    return apply_in_blocks(lambda rows: cosine_similarity(rows, train).mean(1), query)[:, None], own[:, None]


def plain_cosine_threshold(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    def counts(rows: np.ndarray) -> np.ndarray:
        cosine = cosine_similarity(rows, train)
        return np.stack([(cosine > threshold).sum(1) for threshold in (0.4, 0.5, 0.7)], axis=1)

    return apply_in_blocks(counts, query) / len(train), (apply_in_blocks(counts, train) - 1) / (len(train) - 1)


def plain_densities(train: np.ndarray, query: np.ndarray, members: np.ndarray) -> Rows:
    peak = -train.shape[1] / 2 * np.log(2 * np.pi * BANDWIDTH**2)  # of a kernel, at its own row
    found, own = [], []
    for inside in members.T:
        density = KernelDensity(bandwidth=BANDWIDTH).fit(train[inside])
        found.append(-density.score_samples(query))
        total, count = np.exp(density.score_samples(train)) * inside.sum(), inside.sum() - inside
        with np.errstate(divide="ignore"):
            own.append(-np.log(np.maximum(total - inside * np.exp(peak), 0) / count))
    return np.stack(found, axis=1), np.stack(own, axis=1)


def plain_kde(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    return plain_densities(train, query, np.ones((len(train), 1), bool))


def plain_kde_kmeans(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    found = KMeans(10, n_init=10, random_state=0).fit_predict(train)
    return plain_densities(train, query, found[:, None] == np.arange(10))


def plain_knn_density(train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    index = NearestNeighbors(n_neighbors=10).fit(train)
    # Without rows, scikit-learn leaves each fitted row out itself.
    return index.kneighbors(query)[0].mean(1)[:, None], index.kneighbors()[0].mean(1)[:, None]


PLAIN = {
    "fractional_mean": plain_fractional_mean,
    "fractional_prototypes": plain_fractional_prototypes,
    "euclidean_prototypes": plain_euclidean_prototypes,
    "cosine_mean": plain_cosine_mean,
    "cosine_threshold": plain_cosine_threshold,
    "kde": plain_kde,
    "kde_labels": plain_densities,
    "kde_kmeans": plain_kde_kmeans,
    "knn_density": plain_knn_density,
}


def compute_ours(name: str, train: np.ndarray, query: np.ndarray, labels: np.ndarray) -> Rows:
    measure = MEASURES[name](**SETTINGS.get(name, {})).fit(train, labels)
    return measure.transform(query), measure.transform_train()


def measure_seconds(work: Callable[[], Rows]) -> tuple[float, Rows]:
    start = time.perf_counter()
    rows = work()
    return time.perf_counter() - start, rows


def compare(name: str, args: argparse.Namespace) -> tuple[float, float]:
    """Compare a measure with its plain form, best of alternating rounds; both must give the same numbers."""
    train, query, labels = make_data(args.train, args.query)
    our_seconds, plain_seconds = [], []
    for _ in range(args.rounds):
        spent, found = measure_seconds(lambda: compute_ours(name, train, query, labels))
        our_seconds.append(spent)
        spent, expected = measure_seconds(lambda: PLAIN[name](train, query, labels))
        plain_seconds.append(spent)
    # The median: far from a group scikit-learn's tree sums its kernels with an error of its own, up to a fifth of -log.
    gap = np.median(np.abs(found[0] - expected[0])) / np.abs(expected[0]).max()
    assert gap < 1e-5, (name, gap)
    return min(our_seconds), min(plain_seconds)


def compare_searches(args: argparse.Namespace) -> None:
    """Print the time of searching the bandwidth of each group: ours, and a grid search on the same folds."""
    train, _, labels = make_data(args.train, 1)
    found = KMeans(10, n_init=1, random_state=0).fit_predict(train)
    clusters = found[:, None] == np.arange(10)
    for name, members in (("kde", np.ones((len(train), 1), bool)), ("kde_labels", labels), ("kde_kmeans", clusters)):
        groups = [train[inside] for inside in members.T]
        ours, chosen = measure_search(lambda rows: search_bandwidth(rows, 0), groups)
        plain, expected = measure_search(search_plainly, groups)
        assert np.allclose(chosen, expected), name
        print(f"bandwidths of {name}: ours {ours:.2f} s, scikit-learn {plain:.2f} s, {plain / ours:.1f}", flush=True)


def measure_search(search: Callable[[np.ndarray], float], groups: list[np.ndarray]) -> tuple[float, list[float]]:
    start = time.perf_counter()
    chosen = [search(rows) for rows in groups]
    return time.perf_counter() - start, chosen


def search_plainly(rows: np.ndarray) -> float:
    drawn, folds = draw_folds(rows, 0)
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=PredefinedSplit(folds)).fit(drawn)
    return float(search.best_params_["bandwidth"])


def measure_growth(rows: int, args: argparse.Namespace) -> None:
    """Print time a query row and peak memory of all measures but DBSCAN at a size of the train split, as JSON."""
    train, query, labels = make_data(rows, args.query)
    before, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    for name in PLAIN:
        measure = MEASURES[name](**SETTINGS.get(name, {})).fit(train, labels)
        start = time.perf_counter()
        measure.transform(query)
        spent += time.perf_counter() - start
        measure.transform_train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"us": spent / len(query) * 1e6, "before": before / 1024, "peak": peak / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=7000)
    parser.add_argument("--query", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--growth", type=int, nargs="*", default=[1000, 4000, 16000])
    parser.add_argument("--no-dbscan", action="store_true", help="leave out DBSCAN, which takes minutes")
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.grow:
        return measure_growth(args.grow, args)
    where = torch.cuda.get_device_name() if device().type == "cuda" else f"{torch.get_num_threads()} threads, CPU"
    print(f"{where}, {platform.machine()}, {date.today()}; {args.train} train x {args.query} query x 10, float64")
    print("| measure | ours, s | plain, s | plain / ours |\n|---|---|---|---|")
    totals = np.zeros(2)
    for name in PLAIN:
        pair = compare(name, args)
        totals += pair if name in list(MEASURES)[:8] else 0
        print(f"| {name} | {pair[0]:.3f} | {pair[1]:.3f} | {pair[1] / pair[0]:.1f} |", flush=True)
    print(f"| the paper's eight without t-SNE | {totals[0]:.2f} | {totals[1]:.2f} | {totals[1] / totals[0]:.1f} |")
    compare_searches(args)
    for rows in [*args.growth, args.train]:
        command = [sys.executable, __file__, "--grow", str(rows), "--query", str(args.query)]
        growth = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        print(f"{rows:>6} train rows: {growth['us']:.0f} us a query row, all nine; ", end="")
        print(f"peak {growth['peak']:.0f} MiB, {growth['before']:.0f} of it before the first measure", flush=True)
    if args.no_dbscan:
        return None
    spent, _ = measure_seconds(lambda: compute_ours("dbscan", *make_data(args.train, args.query)))
    print(f"dbscan, t-SNE and the predictor's three fits included: {spent:.0f} s")
    return None


if __name__ == "__main__":
    main()
