"""The page of whole roots: what stands on it, and what it says of what is missing."""

import pytest
from made_reports import build_html, make_small_root

from m3ray.errors import StudyError
from m3ray.reports.page import build_report

FIGURES = ["figure2", "figure3", "figure4", "figure5", "figure6", "figure7"]


def test_every_figure_is_there_with_the_data_that_it_draws(root):
    html = build_html(root)
    made = root.list_sizes("report", "figures")
    for key in [*FIGURES, "calibration", "forest"]:
        assert {f"{key}.png", f"{key}.svg", f"{key}.csv"} <= set(made)
    places = [html.index(f"Figure {key.removeprefix('figure')}.") for key in FIGURES]
    assert places == sorted(places), "in the paper's order"
    assert html.count("<figure>") == html.count("<figcaption>") == 10, "Figures 4 and 5 of scene and of event"
    assert html.count("First frame of") == 16
    assert len(html) < 5_000_000
    assert "no frame" not in html
    assert "Figure 2. Validation curves (untrained weights)" in html
    assert "Figure 6. Raw features and memorability<" in html, "no network made them"
    assert "UNTRAINED" in root.read_bytes("report", "tables", "table3.md").decode()
    assert "UNTRAINED" not in root.read_bytes("report", "tables", "table1.md").decode()


def test_a_root_with_scores_and_no_study_is_told_how_to_run_one(root):
    root.delete_folder("study")
    assert "No study: it was not run (m3ray ablate --out" in build_html(root)


def test_the_page_holds_hostile_text_as_text_and_asks_for_no_address(tmp_path):
    root = make_small_root(tmp_path)
    build_report(root.uri)
    html = (tmp_path / "report" / "index.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "<b>bold</b>" not in html
    assert "http://" not in html
    assert "https://" not in html
    assert "Untrained weights" in html
    assert html.count("<img") == html.count('alt="') == 4
    for name in (
        "tables/table3.md",
        "tables/table3.csv",
        "tables/table3.tex",
        "figures/figure2.svg",
        "figures/figure7.csv",
        "figures/calibration.png",
        "figures/forest.csv",
    ):
        assert (tmp_path / "report" / name).stat().st_size > 0
    assert "UNTRAINED" in (tmp_path / "report" / "tables" / "table3.md").read_text()


def test_a_root_without_a_study_says_what_is_missing(tmp_path):
    build_report(make_small_root(tmp_path, study=False).uri)
    html = (tmp_path / "report" / "index.html").read_text()
    assert "No study" in html
    assert "No predictions" in html


def test_an_empty_root_is_refused(tmp_path):
    with pytest.raises(StudyError, match="does not exist"):
        build_report(str(tmp_path))
