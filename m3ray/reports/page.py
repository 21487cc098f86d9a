"""The report: tables, figures and one self-contained page of what a root holds. Ray is not needed."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from m3ray.config.presets import CARBON
from m3ray.datasets.catalogue import read_catalogue
from m3ray.reports.clip_section import add_clips
from m3ray.reports.figure_sections import add_clusters, add_moments, add_pairs, add_search
from m3ray.reports.page_content import Page
from m3ray.reports.run_section import what_ran
from m3ray.reports.study_section import STUDY, add_study
from m3ray.reports.style import house_style
from m3ray.storage.root import Root


def build_report(out: str, prices: Mapping[str, float] | None = None, carbon: float = CARBON) -> str:
    """Writes `report/` under a root and returns the address of its page.

    Args:
        out: the root.
        prices: dollars an hour of each device.
        carbon: kg of CO2 a kWh.
    Raises:
        StudyError: the root has no catalogue.
    """
    root = Root(out)
    page = what_ran(root, prices or {}, carbon)
    with house_style():
        if root.exists(*STUDY, "trials.parquet"):
            add_study(root, page)
        else:
            page.missing.append(_no_study(root))
        for add in (add_clusters, add_pairs, add_search, add_moments):
            add(root, page)
    add_clips(root, page)
    page.figures.sort(key=_order)
    root.write_bytes(_rendered(page).encode(), "report", "index.html")
    address = root.display("report", "index.html")
    print(f"report: {address}", flush=True)
    return address


def _no_study(root: Root) -> str:
    scores = read_catalogue(root)["score"]
    if scores.null_count < len(scores):
        return f"No study: it was not run (jobs/ablate.py --out {root.uri}, or jobs/reproduce.py for everything)."
    return (
        "No study: the catalogue has no scores. Give a table with columns uri and score (jobs/reproduce.py "
        "--dataset table --root clips.csv)."
    )


def _rendered(page: Page) -> str:
    environment = Environment(loader=PackageLoader("m3ray.reports"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html").render(page=page)


def _order(shown: object) -> tuple[int, str]:
    """The paper's figures by their numbers, then ours."""
    key = shown.key  # type: ignore[attr-defined]
    number = key.removeprefix("figure")
    return (int(number), "") if number.isdigit() else (100, "")
