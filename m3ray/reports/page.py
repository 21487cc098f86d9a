"""The report of a root: tables, figures and one self-contained page; runs without Ray."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from m3ray.config.presets import CARBON
from m3ray.reports.caution_section import add_cautions
from m3ray.reports.clip_section import add_clips
from m3ray.reports.figure_sections import add_clusters, add_coverage, add_over_time, add_pairs, add_search
from m3ray.reports.page_content import Page, PageFigure
from m3ray.reports.run_section import start_page
from m3ray.reports.study_files import STUDY
from m3ray.reports.study_section import add_study, remove_hidden_tables
from m3ray.reports.style import house_style
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root


def build_report(out: str, prices: Mapping[str, float] | None = None, carbon: float = CARBON) -> str:
    """Write `report/` below a root; tables of an earlier study that the page does not show are removed.

    Args:
        out: path or URI of the root.
        prices: price of each device, dollars an hour.
        carbon: carbon intensity of the electricity, kg of CO2 a kWh.
    Returns:
        Path or URI of the page.
    Raises:
        StudyError: If the root has no catalogue.
    """
    root = Root(out)
    page = start_page(root, prices or {}, carbon)
    with house_style():
        if root.exists(*STUDY, "trials.parquet"):
            add_study(root, page)
        else:
            page.missing.append(_explain_missing_study(root))
        for add in (add_coverage, add_clusters, add_pairs, add_search, add_over_time):
            add(root, page)
    remove_hidden_tables(root, [table["number"] for table in page.tables])
    add_clips(root, page)
    add_cautions(root, page)
    page.figures.sort(key=_figure_order)
    root.write_bytes(_render(page).encode(), "report", "index.html")
    address = root.display("report", "index.html")
    print(f"report: {address}", flush=True)
    return address


def _explain_missing_study(root: Root) -> str:
    scores = read_catalogue(root)["score"]
    if scores.null_count < len(scores):
        return f"No study: it was not run (jobs/ablate.py --out {root.uri}, or jobs/reproduce.py for everything)."
    return (
        "No study: the catalogue has no scores. Give a table with columns uri and score (jobs/reproduce.py "
        "--dataset table --root clips.csv)."
    )


def _render(page: Page) -> str:
    return make_environment().get_template("page.html").render(page=page)


def make_environment() -> Environment:
    """Make the environment of the templates: text is escaped, and a missing name is an error."""
    return Environment(loader=PackageLoader("m3ray.reports"), autoescape=True, undefined=StrictUndefined)


def _figure_order(figure: PageFigure) -> tuple[int, str]:
    """Sort key of a figure: the paper's by their numbers, then ours."""
    number = figure.key.removeprefix("figure")
    return (int(number), "") if number.isdigit() else (100, "")
