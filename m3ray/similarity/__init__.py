"""How unlike the train split a clip is: the paper's nine measures and one more, a family a file.

A new measure is a class and a line in `MEASURES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from m3ray.similarity.names import Measures

if TYPE_CHECKING:
    from m3ray.similarity.base import Measure
    from m3ray.similarity.projection import Projection

MEASURES = Measures(
    {
        "fractional_mean": "fractional.FractionalMean",
        "fractional_prototypes": "fractional.FractionalPrototypes",
        "euclidean_prototypes": "fractional.EuclideanPrototypes",
        "cosine_mean": "cosine.CosineMean",
        "cosine_threshold": "cosine.CosineThreshold",
        "kde": "density.Kde",
        "kde_labels": "density.KdeLabels",
        "kde_kmeans": "density.KdeKmeans",
        "dbscan": "clustering.Dbscan",
        "knn_density": "neighbours.KnnDensity",
    }
)

__all__ = ["MEASURES", "Measure", "Projection"]


def __getattr__(name: str) -> Any:
    """Import the classes that need scikit-learn at their first use; the names of the measures need none."""
    if name == "Measure":
        from m3ray.similarity.base import Measure

        return Measure
    if name == "Projection":
        from m3ray.similarity.projection import Projection

        return Projection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
