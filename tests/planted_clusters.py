"""Vectors for tests of the measures: at random, and in clusters that are known."""

import numpy as np


def random_vectors(rows=120, seed=0, dtype=np.float64):
    """Train vectors (rows, 10), their labels (rows, 3), one each in turn, and 25 queries."""
    rng = np.random.default_rng(seed)
    train = rng.standard_normal((rows, 10)).astype(dtype)
    labels = np.arange(rows)[:, None] % 3 == np.arange(3)
    return train, labels, rng.standard_normal((25, 10)).astype(dtype)


def planted_clusters(seed=0):
    """2,000 rows in five clusters of falling size, the cluster of each row, and the sizes."""
    rng = np.random.default_rng(seed)
    sizes = (900, 500, 350, 170, 80)
    # All centres are equally far from each other: what tells the clusters apart is their size.
    centres = 12 * np.eye(5, 10)
    cluster = np.repeat(np.arange(5), sizes)
    rows = centres[cluster] + rng.standard_normal((2000, 10))
    return rows, cluster, np.asarray(sizes)
