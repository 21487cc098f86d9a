"""Scores of new clips on the page: what gave them, what they are not, and every clip with or without one."""

import pandas as pd
from made_reports import build_html, make_small_root
from made_scores import RESMEM, scored_root, write_scores

from m3ray.reports import scores_section
from m3ray.reports.page_content import Page
from m3ray.reports.scores_section import (
    add_scores,
    describe_limits,
    describe_scorer,
    describe_source,
    find_folder,
    find_pretrained,
    interval_text,
    make_table,
)
from m3ray.storage.root import Root
from m3ray.storage.scored_files import ScoredFile, list_workspaces


def make_page(root):
    page = Page({}, [], [], None, False)
    add_scores(root, page)
    return page


def test_a_root_of_scores_alone_has_a_page(tmp_path):
    """It ended with "there is no catalogue"."""
    curves = [[0.2, 0.6, 0.4], [0.5, 0.7], []]
    html = build_html(scored_root(tmp_path, curves=curves, rejects=["broken.mp4"]))
    assert "Scores by ResMem, not trained here" in html
    assert "images of LaMem and MemCat; not trained here" in html
    assert "noncommercial use only" in html
    assert "no interval" in html
    assert not any(text in html for text in (">nan", "nan to", "None"))
    assert "4: 3 scored, 1 rejected" in html
    assert "damaged: &lt;b&gt;no frame&lt;/b&gt;" in html, "a message is text"
    assert html.count('<svg class="spark"') == 2, "an image has no curve"
    assert "Memorability over time" in html
    assert "No study" not in html
    assert "the folder /predict" in html


def test_scores_by_a_bundle_have_intervals_and_no_word_of_a_licence(tmp_path):
    root = scored_root(tmp_path, provenance=None)
    part = make_page(root).scores[0]
    assert part["title"] == "Scores by bundle m3s"
    assert "90 % interval" in part["columns"]
    assert part["rows"][0] == ["1", "a.mp4", "0.900", "0.010", "0.50 to 0.50"]
    assert "Licence" not in part["facts"]
    assert part["note"] == ""


def test_every_data_set_has_its_own_part(tmp_path):
    root = scored_root(tmp_path)
    write_scores(root, ["x", "y", "z"], "predict-0a1b", ("predict-0a1b", "predictions.parquet"), provenance=None)
    page = make_page(root)
    assert [part["facts"]["Clips of"] for part in page.scores] == ["the folder /predict", "the folder /predict-0a1b"]
    assert [figure.key for figure in page.figures] == ["scores", "scores-2"]
    assert [part["id"] for part in page.scores] == ["scores1", "scores2"]


def test_a_study_s_page_shows_scores_of_new_clips_below_it(tmp_path):
    root = make_small_root(tmp_path)
    write_scores(root, ["x", "y", "z"], "predict", ("predict", "predictions.parquet"))
    html = build_html(root)
    assert "The headline" in html
    assert "Scores by ResMem, not trained here" in html


def test_few_clips_have_a_table_and_no_distribution(tmp_path):
    page = make_page(scored_root(tmp_path, names=("a.jpg",)))
    assert (len(page.figures), len(page.scores[0]["rows"])) == (0, 1)


def test_a_long_table_ends_and_says_so(monkeypatch):
    monkeypatch.setattr(scores_section, "MOST_ROWS", 3)
    frame = pd.DataFrame({"clip_id": list("abcde"), "score": [0.5, 0.4, 0.3, 0.2, 0.1], "spread": 0.0})
    rejects = pd.DataFrame({"clip_id": ["f"], "stage": ["decode"], "error": ["damaged"], "message": ["m"]})
    table = make_table(frame, rejects)
    assert [row[1] for row in table["rows"]] == ["a", "b", "c"]
    assert table["left"] == 3
    assert make_table(frame.head(2), rejects)["rows"][2] == ["", "f", "", "", "damaged: m"]


def test_a_folder_that_is_gone_costs_its_facts_alone(tmp_path):
    root = scored_root(tmp_path)
    workspaces = list_workspaces(root)
    gone = ScoredFile(("predictions.parquet",), {"bundle": "x", "catalogue": "predict-ff"})
    assert find_folder(gone, workspaces) is None
    older = ScoredFile(("predictions.parquet",), {"bundle": "x"})
    assert find_folder(older, workspaces).uri == workspaces["predict"].uri, "the only one"
    root.delete("predict", "catalogue.parquet")
    part = make_page(root).scores[0]
    assert part["facts"]["Clips"] == "3 scored"


def test_what_scored_is_named():
    assert find_pretrained({"bundle": "m3s"}) is None
    assert describe_scorer({"bundle": "m3s"}) == "bundle m3s"
    assert describe_scorer({}) == "a bundle"
    assert describe_scorer({"bundle": "resmem", "provenance": RESMEM}) == "ResMem, not trained here"
    assert "motion and sound have no part" in describe_limits(RESMEM)
    false = describe_limits(RESMEM | {"predicts": "false_alarm_rate"})
    assert "how often viewers take an image for one that they have seen" in false


def test_an_interval_that_is_not_there_has_no_text():
    assert interval_text({"low": 0.1, "high": 0.25}) == "0.10 to 0.25"
    assert interval_text({"low": None, "high": None}) == interval_text({"low": float("nan"), "high": 1}) == ""
    assert interval_text({}) == ""


def test_a_record_that_cannot_be_read_is_no_error(tmp_path):
    root = Root(str(tmp_path))
    root.write_bytes(b"{", "dataset.json")
    assert describe_source(root) == ""


def test_an_interval_of_a_rule_without_clips_is_unknown_and_no_0_to_1():
    """Conformal intervals of fewer than 9 clips are infinite; a bundle cuts them at what scores can be."""
    assert interval_text({"low": 0.0, "high": 1.0}) == "interval unknown"
    assert interval_text({"low": -float("inf"), "high": float("inf")}) == "interval unknown", "d' has no bounds"
    assert interval_text({"low": -0.2, "high": 1.3}) == "-0.20 to 1.30"
    assert interval_text({"low": 0.0, "high": 0.9}) == "0.00 to 0.90"
