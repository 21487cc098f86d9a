"""One function a figure: from data frames to a matplotlib figure and the data that it draws."""

from m3ray.reports.figures.ablation import plot_forest
from m3ray.reports.figures.clusters import (
    NOISE,
    largest_clusters,
    plot_cluster_boxes,
    plot_cluster_contents,
    plot_cluster_planes,
)
from m3ray.reports.figures.coverage import count_by_tenth, plot_coverage
from m3ray.reports.figures.curves import curve_table, plot_validation_curves
from m3ray.reports.figures.over_time import plot_over_time
from m3ray.reports.figures.pairs import plot_pairs
from m3ray.reports.figures.predictions import plot_calibration, plot_distributions
from m3ray.reports.figures.scores import plot_scores
from m3ray.reports.figures.search import plot_parallel_coordinates
from m3ray.reports.figures.side_by_side import (
    Distributions,
    plot_curves_beside,
    plot_distributions_beside,
    plot_pairs_beside,
)
from m3ray.reports.figures.what_if import MOST_HOG, plot_what_if

__all__ = [
    "MOST_HOG",
    "NOISE",
    "Distributions",
    "count_by_tenth",
    "curve_table",
    "largest_clusters",
    "plot_calibration",
    "plot_cluster_boxes",
    "plot_cluster_contents",
    "plot_cluster_planes",
    "plot_coverage",
    "plot_curves_beside",
    "plot_distributions",
    "plot_distributions_beside",
    "plot_forest",
    "plot_over_time",
    "plot_pairs",
    "plot_pairs_beside",
    "plot_parallel_coordinates",
    "plot_scores",
    "plot_validation_curves",
    "plot_what_if",
]
