"""The page of several roots: Figures 2, 6 and 7 beside one another, then headline and tables of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m3ray.reports import figures
from m3ray.reports.beside_data import DataSet, read_data_sets
from m3ray.reports.page import make_environment
from m3ray.reports.page_content import Page
from m3ray.reports.style import house_style
from m3ray.reports.tables.notes import NOTE
from m3ray.storage.root import Root

PAGE_FILE = "beside.html"
_KEY = "beside_figure{}"


def build_report_beside(outs: Sequence[str]) -> str:
    """Write `report/beside.html` below the first of several roots; every root's own report stays as it is.

    Args:
        outs: paths or URIs of the roots, two or more different ones.
    Returns:
        Path or URI of the page.
    Raises:
        StudyError: If a root has no catalogue.
    """
    sets = read_data_sets([Root(out) for out in outs])
    first = sets[0].root
    page = Page({}, [], [], None, any(part.untrained for part in sets))
    with house_style():
        for add in (_add_curves, _add_pairs, _add_distributions):
            add(first, page, sets)
    html = make_environment().get_template(PAGE_FILE).render(sets=sets, page=page, note=NOTE)
    first.write_bytes(html.encode(), "report", PAGE_FILE)
    address = first.display("report", PAGE_FILE)
    print(f"report: {address}: {', '.join(part.name for part in sets)}; in the report of the first root", flush=True)
    return address


def _find_target(sets: Sequence[DataSet]) -> str:
    """What the first study predicts: the others are drawn beside it where they predict that too."""
    return next((part.target_in_words for part in sets if part.study is not None), "")


def _add_curves(root: Root, page: Page, sets: Sequence[DataSet]) -> None:
    target = _find_target(sets)
    caption = (
        "Validation Spearman by epoch: mean over runs, band of one standard deviation where there are several; a dot "
        "marks each variant's best epoch. A variant has one colour in all panels; each has its own scale."
    )
    panels, title = {part.panel: part.read_curves(target) for part in sets}, "Figure 2. Validation curves"
    if _explain_nothing(page, panels, title):
        return
    alt = f"Line charts of validation rank correlation by epoch, for {_list(sets)}"
    page.add_figure(root, figures.plot_curves_beside(panels), _KEY.format(2), title, caption, alt)


def _add_pairs(root: Root, page: Page, sets: Sequence[DataSet]) -> None:
    score = sets[0].score_in_words
    caption = (
        "The raw features that are numbers, and the score: scatter below, distribution on the diagonal, density above, "
        "Pearson's r and p in each cell (HOG is a vector and is left out). Look along the rows of the score: do the "
        "same features matter?"
    )
    panels, title = {part.name: part.read_pairs(score) for part in sets}, "Figure 6. Raw features and memorability"
    if _explain_nothing(page, panels, title):
        return
    alt = f"Grids of scatter plots and densities of raw features and memorability, for {_list(sets)}"
    page.add_figure(root, figures.plot_pairs_beside(panels), _KEY.format(6), title, caption, alt, weights=False)


def _add_distributions(root: Root, page: Page, sets: Sequence[DataSet]) -> None:
    target = _find_target(sets)
    caption = (
        "Truth and prediction of each full model on its val clips: distributions (left), and scores by rank (right), "
        "on one scale of memorability. A flatter prediction line means a model that dares less than the truth varies. "
        "The predictions are means over the runs, and the rho above them is theirs."
    )
    panels, title = {part.panel: part.read_distributions(target) for part in sets}, "Figure 7. Truth and prediction"
    if _explain_nothing(page, panels, title):
        return
    alt = f"Histograms and rank plots of true and predicted memorability, for {_list(sets)}"
    page.add_figure(root, figures.plot_distributions_beside(panels), _KEY.format(7), title, caption, alt)


def _explain_nothing(page: Page, panels: Mapping[str, Any], title: str) -> bool:
    """Say why a figure is left out where no data set has a part of it; whether that is so."""
    if not all(isinstance(content, str) for content in panels.values()):
        return False
    reasons = "; ".join(f"{name}: {content}" for name, content in panels.items())
    page.missing.append(f"{title} is left out: {reasons}.")
    return True


def _list(sets: Sequence[DataSet]) -> str:
    return ", ".join(part.name for part in sets)
