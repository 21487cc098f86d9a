"""How unlike the train split a clip is: the paper's nine measures and one more, one family a file.

A new one is a class and a line below.
"""

from m3ray.similarity.base import Measure
from m3ray.similarity.clustering import Dbscan
from m3ray.similarity.cosine import CosineMean, CosineThreshold
from m3ray.similarity.density import Kde, KdeKmeans, KdeLabels
from m3ray.similarity.fractional import EuclideanPrototypes, FractionalMean, FractionalPrototypes
from m3ray.similarity.neighbours import KnnDensity
from m3ray.similarity.projection import Projection

MEASURES: dict[str, type[Measure]] = {
    "fractional_mean": FractionalMean,
    "fractional_prototypes": FractionalPrototypes,
    "euclidean_prototypes": EuclideanPrototypes,
    "cosine_mean": CosineMean,
    "cosine_threshold": CosineThreshold,
    "kde": Kde,
    "kde_labels": KdeLabels,
    "kde_kmeans": KdeKmeans,
    "dbscan": Dbscan,
    "knn_density": KnnDensity,
}

__all__ = ["MEASURES", "Measure", "Projection"]
