"""The report of a root: tables, figures and one self-contained page; runs without Ray."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from m3ray.config.presets import CARBON
from m3ray.reports.caution_section import add_cautions
from m3ray.reports.clip_section import add_clips, find_scored_root
from m3ray.reports.cluster_section import add_clusters
from m3ray.reports.duplicate_section import add_duplicates
from m3ray.reports.explained_section import add_explained
from m3ray.reports.figure_sections import add_coverage, add_over_time, add_pairs, add_search
from m3ray.reports.page_content import Page, PageFigure
from m3ray.reports.planted_section import add_planted
from m3ray.reports.run_section import start_page
from m3ray.reports.scores_section import add_scores
from m3ray.reports.study_files import STUDY
from m3ray.reports.study_section import add_study, remove_hidden_tables
from m3ray.reports.style import house_style
from m3ray.reports.what_if_section import add_what_if
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.root import Root
from m3ray.storage.scored_files import has_new_scores, list_workspaces


def build_report(out: str, prices: Mapping[str, float] | None = None, carbon: float = CARBON) -> str:
    """Write `report/` below a root; tables of an earlier study that the page does not show are removed.

    Args:
        out: path or URI of the root.
        prices: price of each device, dollars an hour.
        carbon: carbon intensity of the electricity, kg of CO2 a kWh.
    Returns:
        Path or URI of the page.
    Raises:
        StudyError: If the root has neither a catalogue nor scores of new clips.
    """
    root = Root(out)
    new = _find_new_clips(root)
    page = start_page(root, prices or {}, carbon, new)
    with house_style():
        for add in (add_scores, add_over_time) if new is not None else _PARTS:
            add(root, page)
    remove_hidden_tables(root, [table["number"] for table in page.tables])
    add_clips(root, page)
    add_explained(root, page)
    add_cautions(root, page)
    page.figures.sort(key=_figure_order)
    root.write_bytes(_render(page).encode(), "report", "index.html")
    address = root.display("report", "index.html")
    print(f"report: {address}", flush=True)
    return address


def _find_new_clips(root: Root) -> Root | None:
    """Find the folder of the clips that a root without clips of its own holds scores of; None: it has its own."""
    if has_catalogue(root) or not has_new_scores(root):
        return None
    return find_scored_root(root) or next(iter(list_workspaces(root).values()))


def _add_study(root: Root, page: Page) -> None:
    """Add the study, or why there is none."""
    if root.exists(*STUDY, "trials.parquet"):
        add_study(root, page)
    else:
        page.missing.append(_explain_missing_study(root))


# Of a root without a catalogue of its own, which holds scores of new clips alone, there is no study to speak of.
_PARTS = (
    _add_study,
    add_planted,
    add_what_if,
    add_coverage,
    add_clusters,
    add_pairs,
    add_duplicates,
    add_search,
    add_scores,
    add_over_time,
)


def _explain_missing_study(root: Root) -> str:
    scores = read_catalogue(root)["score"]
    if scores.null_count < len(scores):
        return f"No study: it was not run (m3ray ablate --out {root.uri}, or m3ray reproduce for everything)."
    return (
        "No study: the catalogue has no scores. Give a table with columns uri and score (m3ray reproduce "
        "--dataset table --root clips.csv)."
    )


def _render(page: Page) -> str:
    return make_environment().get_template("page.html").render(page=page)


def make_environment() -> Environment:
    """Make the environment of the templates: text is escaped, and a missing name is an error."""
    return Environment(loader=PackageLoader("m3ray.reports"), autoescape=True, undefined=StrictUndefined)


def _figure_order(figure: PageFigure) -> tuple[int, str]:
    """Sort key of a figure: the paper's by their numbers, then ours."""
    number, _, part = figure.key.removeprefix("figure").partition("-")
    return (int(number), part) if number.isdigit() else (100, "")
