"""The figures of raw features, search and scores over time on the page; where one cannot be had, why."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from m3ray.reports import figures
from m3ray.reports.coverage_data import describe_sources, find_coverage
from m3ray.reports.page_content import Page
from m3ray.reports.scores_section import describe_scorer
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.scored_files import list_scored_files
from m3ray.storage.tier_index import read_tier_index, read_tier_table
from m3ray.study.search_choice import COLUMNS
from m3ray.study.search_space import LOGARITHMIC, SPACE

SEARCH = ("study", "search")
_SCALARS = ("brightness", "contrast", "blurriness", "mean_optical_flow", "size_bytes")


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
        return "there is no raw tier: m3ray extract --tiers raw"
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
        page.missing.append("No search over hyper-parameters: run m3ray tune.")
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


def add_over_time(root: Root, page: Page) -> None:
    """Add the figure of scores over time where `predict.py --over-time` has computed them.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    # Beside a study's own predictions those of predict.py stand in the folder of their data set.
    files = list_scored_files(root)
    with_curves = [file for file in files if "curve" in root.read_schema(*file.path).names]
    if files and not with_curves:
        page.missing.append("No scores over time: run m3ray predict --over-time.")
    drawn = 0
    for file in with_curves:
        table: pa.Table = root.read_table(*file.path, columns=["clip_id", "score", "times", "curve"])
        figure, windows = figures.plot_over_time(table.to_pandas())
        if windows.empty:
            page.missing.append(f"No scores over time ({root.display(*file.path)}): no clip has two windows.")
            continue
        drawn += 1
        where = "" if len(with_curves) == 1 else f": {'/'.join(file.path)}"
        caption = (
            f"Scores of sliding windows, by {describe_scorer(file.made)}, over the clips that vary most, at each "
            "window's middle; grey: the clip's own score. A peak is the part to keep."
        )
        key = "moments" if drawn == 1 else f"moments-{drawn}"
        title, alt = f"Memorability over time{where}", "Line charts of score by second"
        page.add_figure(root, (figure, windows), key, title, caption, alt)
