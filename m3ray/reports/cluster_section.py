"""Figures 3 to 5 on the page: the clusters of every vector tier, how memorable they are, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from m3ray.reports import figures
from m3ray.reports.cluster_data import Clusters, choose_extremes, find_clusters
from m3ray.reports.cluster_fits import MOST_CLIPS
from m3ray.reports.figures.clusters import LARGEST, ClusterContents
from m3ray.reports.page_content import Page
from m3ray.reports.thumbnails import read_first_frames
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root

_FRAMES = 6


def add_clusters(root: Root, page: Page) -> None:
    """Add Figures 3 to 5, or why they cannot be had.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    names = ["clip_id", "uri", "split", "score", "labels"]
    catalogue = read_catalogue(root).select(names).to_pandas()
    clusters = find_clusters(root, catalogue)
    if isinstance(clusters, str):
        page.missing.append(f"Figures 3 to 5 (clusters): {clusters}.")
        return
    page.missing += [f"Figures 3 to 5 (clusters) of {reason}." for reason in clusters.missing]
    _add_planes(root, page, clusters)
    if not catalogue["labels"].map(len).any():
        page.missing.append(
            "Figure 5 (what the most and the least memorable cluster hold): no clip has a label. Give the catalogue a "
            "column labels, with | between several."
        )
    for tier in clusters.tiers:
        scored = clusters.join_scores(catalogue, tier)
        if len(scored):
            _add_boxes(root, page, clusters, tier, scored, float(catalogue["score"].mean()))
        _add_contents(root, page, clusters, tier, scored)


def _add_planes(root: Root, page: Page, clusters: Clusters) -> None:
    points = clusters.points
    inside = points["cluster"] != figures.NOISE
    if not inside.any():
        page.missing.append("Figure 3: DBSCAN found no cluster, every clip is noise: try another eps.")
        return
    most = int(points[inside].groupby("tier")["cluster"].nunique().max())
    right = f"the {LARGEST} largest with their ids right" if most > LARGEST else "the same with their ids right"
    caption = (
        "Train clips in the t-SNE space of each vector tier (its two widest axes of three), coloured by DBSCAN "
        f"cluster: all clusters left, {right}.{_describe_noise(inside)} Look for clusters that stand apart"
        f"{'; colours repeat' if most > 8 else ''}.{_describe_alone(clusters.drawn_alone, points)}"
    )
    alt = f"Scatter plots of clips in the t-SNE plane, coloured by cluster, of {', '.join(clusters.tiers)}"
    plot, title = figures.plot_cluster_planes(points), "Figure 3. Clusters in the t-SNE plane"
    page.add_figure(root, plot, "figure3", title, caption, alt, tiers=clusters.tiers)


def _describe_noise(inside: pd.Series) -> str:
    left_out = int((~inside).sum())
    return f" Clips in no cluster ({left_out:,}) are not drawn." if left_out else ""


def _describe_alone(tiers: Sequence[str], points: pd.DataFrame) -> str:
    """Say which tiers' clusters no model sees, and which are a sample's."""
    if not tiers:
        return ""
    sampled = [tier for tier in tiers if (points["tier"] == tier).sum() >= MOST_CLIPS]
    sample = f" A sample of {MOST_CLIPS:,} train clips stands for those of {', '.join(sampled)}." if sampled else ""
    return (
        f" The clusters of {', '.join(tiers)} were found for these figures alone, as the measure dbscan finds them: no "
        f"model sees them.{sample}"
    )


def _name_part(clusters: Clusters, tier: str, figure: str, title: str) -> tuple[str, str]:
    """Key and title of one tier's part of a figure; the main tier's has the figure's own key."""
    if len(clusters.tiers) == 1:
        return figure, title
    key = figure if tier == clusters.main_tier else f"{figure}-{re.sub('[^A-Za-z0-9_.]+', '-', tier)}"
    return key, f"{title}: {tier}"


def _add_boxes(root: Root, page: Page, clusters: Clusters, tier: str, scored: pd.DataFrame, overall: float) -> None:
    count = scored["cluster"].nunique()
    which = f"the {LARGEST} largest of {count} clusters" if count > LARGEST else "each cluster"
    figure, boxes = figures.plot_cluster_boxes(scored, overall)
    has_noise, has_outliers = (boxes["cluster"] == figures.NOISE).any(), boxes["outliers"].sum() > 0
    caption = (
        f"Scores of the train clips in {which} of the {tier} tier, by falling median: quartiles (box), median (blue), "
        f"mean (triangle), {'outliers (dots), ' if has_outliers else ''}n clips"
        f"{'; cluster -1 holds the clips in none' if has_noise else ''}. Red: mean of the data set; green, dashed: "
        "mean of these clusters' clips."
        + (" Common content is forgotten where green lies below red." if count > LARGEST else "")
        + (" There is one cluster only, so that this says nothing of content." if count == 1 else "")
    )
    alt = f"Box plots of memorability by cluster of {tier}, sorted by median, with two lines for the overall means"
    key, title = _name_part(clusters, tier, "figure4", "Figure 4. Memorability by cluster")
    page.add_figure(root, (figure, boxes), key, title, caption, alt, tiers=[tier])


def _add_contents(root: Root, page: Page, clusters: Clusters, tier: str, scored: pd.DataFrame) -> None:
    chosen = choose_extremes(scored)
    if not chosen:
        page.missing.append(f"Figure 5: {tier} has no cluster of scored clips to show the contents of.")
        return
    if not scored["labels"].map(len).any():
        return  # said once for all tiers
    rows = [scored[scored["cluster"] == cluster] for cluster in chosen]
    figure, bars = figures.plot_cluster_contents(_read_contents(chosen, rows))
    other = " (`other`: none of these)" if (bars["label"] == "other").any() else ""
    among = f" of the {LARGEST} largest clusters" if scored["cluster"].nunique() > LARGEST else " of the clusters"
    caption = (
        f"The most and the least memorable{among} of the {tier} tier: the labels of their clips{other}, and "
        "first frames. Look for what binds each together."
        if len(chosen) > 1
        else f"The only cluster of the {tier} tier: the labels of its clips{other}, and first frames."
    )
    alt = f"Bar charts of labels beside first frames of clips, for {len(chosen)} of the clusters of {tier}"
    key, title = _name_part(clusters, tier, "figure5", "Figure 5. What clusters hold")
    page.add_figure(root, (figure, bars), key, title, caption, alt, tiers=[tier])


def _read_contents(chosen: Sequence[int], rows: Sequence[pd.DataFrame]) -> list[ClusterContents]:
    """Mean, labels and first frames of some clusters, whose scored clips are given."""
    uris = {clip: uri for part in rows for clip, uri in part[["clip_id", "uri"]].head(_FRAMES).to_numpy()}
    pictures = read_first_frames(uris)
    return [
        ClusterContents(
            cluster,
            float(part["score"].mean()),
            part["labels"].map(list).tolist(),
            [pictures[clip] for clip in part["clip_id"].head(_FRAMES) if clip in pictures],
        )
        for cluster, part in zip(chosen, rows, strict=True)
    ]
