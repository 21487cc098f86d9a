"""The figures of clusters, raw features, search and scores over time on the page; where one cannot be had, why."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from m3ray.reports import figures
from m3ray.reports.cluster_data import Clusters, choose_extremes, find_clusters
from m3ray.reports.coverage_data import describe_sources, find_coverage
from m3ray.reports.figures.clusters import ClusterContents
from m3ray.reports.page_content import Page
from m3ray.reports.thumbnails import read_first_frames
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index, read_tier_table
from m3ray.study.search_choice import COLUMNS
from m3ray.study.search_space import LOGARITHMIC, SPACE

SEARCH = ("study", "search")
_SCALARS = ("brightness", "contrast", "blurriness", "mean_optical_flow", "size_bytes")
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
    _add_cluster_planes(root, page, clusters)
    scored = clusters.join_scores(catalogue)
    if scored["cluster"].nunique() > 0 and len(scored):
        _add_cluster_boxes(root, page, clusters.main_tier, scored, float(catalogue["score"].mean()))
    _add_cluster_contents(root, page, clusters.main_tier, scored)


def _add_cluster_planes(root: Root, page: Page, clusters: Clusters) -> None:
    if not (clusters.points["cluster"] != figures.NOISE).any():
        page.missing.append("Figure 3: DBSCAN found no cluster, every clip is noise: try another eps.")
        return
    caption = (
        "Train clips in the t-SNE space of each vector tier (its two widest axes of three), coloured by DBSCAN "
        "cluster: all clusters left, the 15 largest with their ids right. Clips in no cluster are not drawn. Look for "
        "clusters that stand apart; colours repeat."
    )
    alt = "Scatter plots of clips in the t-SNE plane, coloured by cluster"
    title = "Figure 3. Clusters in the t-SNE plane"
    page.add_figure(root, figures.plot_cluster_planes(clusters.points), "figure3", title, caption, alt)


def _add_cluster_boxes(root: Root, page: Page, tier: str, scored: pd.DataFrame, overall: float) -> None:
    caption = (
        f"Scores of the train clips in each of the 15 largest clusters of the {tier} tier, by falling median: "
        "quartiles (box), median (blue), mean (triangle), outliers (dots), n clips; cluster -1 holds the clips in "
        "none. Red: mean of the data set; green, dashed: mean of these clusters' clips. Common content is forgotten "
        "where green lies below red."
    )
    alt = "Box plots of memorability by cluster, sorted by median, with two lines for the overall means"
    title = "Figure 4. Memorability by cluster"
    page.add_figure(root, figures.plot_cluster_boxes(scored, overall), "figure4", title, caption, alt)


def _add_cluster_contents(root: Root, page: Page, tier: str, scored: pd.DataFrame) -> None:
    chosen = choose_extremes(scored)
    if not chosen:
        page.missing.append("Figure 5: there is no cluster of scored clips to show the contents of.")
        return
    if not scored["labels"].map(len).any():
        page.missing.append(
            "Figure 5 (what the most and the least memorable cluster hold): no clip has a label. Give the catalogue a "
            "column labels, with | between several."
        )
        return
    rows = [scored[scored["cluster"] == cluster] for cluster in chosen]
    uris = {clip: uri for part in rows for clip, uri in part[["clip_id", "uri"]].head(_FRAMES).to_numpy()}
    pictures = read_first_frames(uris)
    contents = [
        ClusterContents(
            cluster,
            float(part["score"].mean()),
            part["labels"].map(list).tolist(),
            [pictures[clip] for clip in part["clip_id"].head(_FRAMES) if clip in pictures],
        )
        for cluster, part in zip(chosen, rows, strict=True)
    ]
    caption = (
        f"The most and the least memorable of the 15 largest clusters of the {tier} tier: the labels of their clips "
        "(`other`: none of these), and first frames. Look for what binds each together."
        + ("" if len(chosen) > 1 else " There is one cluster only.")
    )
    alt = "Bar charts of labels beside first frames of clips, for two clusters"
    title = "Figure 5. What clusters hold"
    page.add_figure(root, figures.plot_cluster_contents(contents), "figure5", title, caption, alt)


def add_pairs(root: Root, page: Page) -> None:
    """Add Figure 6, or why it cannot be had.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    joined = read_pairs(root)
    if isinstance(joined, str):
        page.missing.append(f"Figure 6 (raw features and score): {joined}.")
        return
    caption = (
        f"The raw features that are numbers, and the score, of {len(joined):,} clips: scatter below, distribution on "
        "the diagonal, density above, Pearson's r and p in each cell (HOG is a vector and is left out). Look along the "
        "row of the score."
    )
    alt = "Grid of scatter plots and densities of raw features and memorability, with correlations"
    title = "Figure 6. Raw features and memorability"
    page.add_figure(root, figures.plot_pairs(joined), "figure6", title, caption, alt, weights=False)


def read_pairs(root: Root) -> pd.DataFrame | str:
    """Read the raw features that are numbers, and the score.

    Args:
        root: root that may hold them.
    Returns:
        A column each, a row a clip that has all; or why they cannot be had.
    """
    if "raw" not in read_tier_index(root):
        return "there is no raw tier: jobs/extract.py --tiers raw"
    raw = read_tier_table(root, "raw").select(["clip_id", *_SCALARS]).to_pandas()
    scores = read_catalogue(root).select(["clip_id", "score"]).to_pandas().dropna()
    joined = raw.merge(scores, on="clip_id").drop(columns="clip_id")
    return joined if len(joined) >= 3 else f"{len(joined)} clips have both; 3 are the fewest"


def add_search(root: Root, page: Page) -> None:
    """Add the figure of the settings that a search tried, or how to run a search.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    if not root.exists(*SEARCH, "best.json"):
        page.missing.append("No search over hyper-parameters: run jobs/tune.py.")
        return
    trials = root.read_table(*SEARCH, "trials.parquet").to_pandas()
    best = root.read_json(*SEARCH, "best.json")
    is_older = "objective" not in best
    column = best["metric"] if is_older else COLUMNS[best["metric"]]
    objective = "" if is_older else f": {best['objective']}; dotted lines may not be the best"
    verdict = f" On seeds that chose nothing: {best['verdict']}." if "verdict" in best else ""
    caption = (
        f"{len(trials)} settings of Table 5, a line each; colour is {column} on val at the last epoch, grey were "
        f"stopped early, the thick line is the best, chosen on val and so optimistic{objective}. Look for axes on "
        f"which the bright lines meet.{verdict}"
    )
    alt = f"Parallel coordinates of {len(trials)} hyper-parameter settings and their {column}"
    settings = [name for name in SPACE if name in trials]  # an older search had fewer
    plot = figures.plot_parallel_coordinates(trials, settings, LOGARITHMIC, column)
    page.add_figure(root, plot, "search", "The search over settings", caption, alt)


def add_coverage(root: Root, page: Page) -> None:
    """Add the figure of how often the bundles' intervals hold the true score, or why it cannot be had.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    found, missing = find_coverage(root)
    page.missing += missing
    if not found:
        return
    tables = [figures.count_by_tenth(c.scores, c.covered).assign(bundle=c.bundle, source=c.source) for c in found]
    whole = ", ".join(f"{c.bundle} {c.covered.mean():.3f}" for c in found)
    caption = (
        "Share of clips whose 90 % interval holds their true score, by tenth of the prediction, with its 95 % binomial "
        f"interval ({describe_sources(found)}). In all: {whole}. Intervals adapt to the prediction; among clips of one "
        "true score no interval around a prediction can hold what it says: a clip that everybody forgets is mostly "
        "predicted too high."
    )
    alt = "Dots with error bars: coverage of the intervals by tenth of the prediction, beside a line at 90 %"
    plot = figures.plot_coverage(pd.concat(tables, ignore_index=True))
    page.add_figure(root, plot, "coverage", "Coverage by tenth of the prediction", caption, alt)


_PREDICTIONS = "predictions.parquet"


def add_over_time(root: Root, page: Page) -> None:
    """Add the figure of scores over time where `predict.py --over-time` has computed them.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    # Beside a study's own predictions those of predict.py stand in its folder.
    files = [path for path in (("predict", _PREDICTIONS), (_PREDICTIONS,)) if root.exists(*path)]
    if not files:
        return
    with_curves = [path for path in files if "curve" in root.read_schema(*path).names]
    if not with_curves:
        page.missing.append("No scores over time: run jobs/predict.py --over-time.")
        return
    frame: pa.Table = root.read_table(*with_curves[0])
    figure, windows = figures.plot_over_time(frame.select(["clip_id", "score", "times", "curve"]).to_pandas())
    if windows.empty:
        page.missing.append("No scores over time: every clip is shorter than two windows.")
        return
    caption = (
        "Scores of sliding windows over the clips that vary most, at each window's middle; grey: the clip's own score. "
        "A peak is the part to keep."
    )
    alt = "Line charts of score by second"
    page.add_figure(root, (figure, windows), "moments", "Memorability over time", caption, alt)
