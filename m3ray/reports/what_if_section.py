"""What if a raw feature were another number, on the page: the figure, or how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from m3ray.reports import figures
from m3ray.reports.page_content import Page
from m3ray.reports.study_files import STUDY
from m3ray.scoring.what_if import read_what_if
from m3ray.storage.root import Root

_BUNDLE = ("study", "m3s")  # the study of m3ray train, where there is no other
KEY = "what_if"


def add_what_if(root: Root, page: Page) -> None:
    """Add the curves of the raw features, or why they cannot be had.

    Args:
        root: root that the report is about.
        page: page to fill.
    """
    found = read_what_if(root, STUDY) or read_what_if(root, _BUNDLE)
    if found is None:
        if any(root.exists(*folder, "config.json") for folder in (STUDY, _BUNDLE)):
            page.missing.append(
                "No curves of the raw features (what if): the model sees none, or an earlier m3ray made the study: run "
                "m3ray ablate again; what was trained is kept."
            )
        return
    curves, made = found
    if curves.empty:
        page.missing.append(f"No curves of the raw features: none varies ({', '.join(made['level'])}).")
        return
    alt = f"A line chart of the change of the {made['target']} for each of {curves['feature'].nunique()} raw features"
    plot = figures.plot_what_if(curves, str(made["target"]))
    page.add_figure(root, plot, KEY, "What if a raw feature were another number", _describe(curves, made), alt)


def _describe(curves: pd.DataFrame, made: Mapping[str, Any]) -> str:
    """Say what the curves are, and what they are not."""
    runs = int(curves["runs"].max())
    band = f"bands of one standard deviation over {runs} runs" if runs > 1 else "one run, so no band"
    level = made["level"]
    left_out = f" Left out, as they do not vary: {', '.join(level)}." if level else ""
    hog = curves.loc[curves["feature"].str.startswith("hog_"), "feature"].nunique()
    drawn = figures.MOST_HOG
    most = f" Of HOG's {hog} components those {drawn} are drawn that change it most." if hog > drawn else ""
    return (
        f"How the score of {made['model']} changes with each raw feature over the {made['clips']:,} train clips, from "
        f"the 5th to the 95th percentile ({band}; strokes: every twentieth of the clips). Partial dependence gives all "
        "clips the same number; accumulated local effects move each a short way from its own. Where the two part, "
        "features go together, and the second is to be read. This is what the model does, not what makes people "
        f"remember.{most}{left_out}"
    )
