"""Makes the measures of similarity.npz from its inputs, by SciPy and scikit-learn in float64.

    cd tests && python -m golden.make_similarity [--check]

The inputs `train`, `query` and `labels` are taken from the stored file: random numbers whose recipe is not known.
Gives the stored measures with SciPy 1.17.1, scikit-learn 1.9.1 and NumPy 2.4.6 within 1e-11, and the densities
within 4e-6: scikit-learn's tails of `kde_labels` have few digits.
"""

import numpy as np
from golden.reference_files import write_or_check
from recipes import golden
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity

BANDWIDTH = 0.5
THRESHOLDS = (0.4, 0.5, 0.7)


def fractional(rows, others):
    return (np.abs(rows[:, None] - others[None]) ** 0.5).sum(axis=-1) ** 2


def surprise(rows, points):
    return -KernelDensity(bandwidth=BANDWIDTH).fit(points).score_samples(rows)


def compute():
    stored = golden("similarity")
    labels = stored["labels"]
    projection = PCA(10, whiten=True).fit(stored["train"])
    train, query = projection.transform(stored["train"]), projection.transform(stored["query"])
    prototypes = np.stack([train[bears].mean(axis=0) for bears in labels.T])
    cosine = 1 - cdist(query, train, "cosine")
    return {
        **{name: stored[name] for name in ("train", "query", "labels")},
        "kde_bandwidth": BANDWIDTH,
        "fractional_mean": fractional(query, train).mean(axis=1),
        "fractional_prototypes": fractional(query, prototypes),
        "euclidean_prototypes": cdist(query, prototypes),
        "cosine_mean": cosine.mean(axis=1),
        "cosine_threshold": np.stack([(cosine > t).mean(axis=1) for t in THRESHOLDS], axis=1),
        "kde": surprise(query, train),
        "kde_labels": np.stack([surprise(query, train[bears]) for bears in labels.T], axis=1),
    }


if __name__ == "__main__":
    write_or_check(__doc__, ("similarity", compute))
