"""The figures: each a function from data frames to a matplotlib figure and the data that it draws."""

from m3ray.reports.figures.ablation import forest
from m3ray.reports.figures.clusters import NOISE, cluster_boxes, cluster_contents, cluster_planes, largest_clusters
from m3ray.reports.figures.curves import curve_table, validation_curves
from m3ray.reports.figures.over_time import over_time
from m3ray.reports.figures.pairs import pairs
from m3ray.reports.figures.predictions import calibration, distributions
from m3ray.reports.figures.search import parallel_coordinates

__all__ = [
    "NOISE",
    "calibration",
    "cluster_boxes",
    "cluster_contents",
    "cluster_planes",
    "curve_table",
    "distributions",
    "forest",
    "largest_clusters",
    "over_time",
    "pairs",
    "parallel_coordinates",
    "validation_curves",
]
