"""Clips that were looked at more closely: those asked for, and those of other data sets and bundles, on the page."""

import pandas as pd
import pytest
from made_beside import write_map, write_neighbours, write_no_map, write_shots
from made_maps import make_map
from made_reports import build_html, make_small_root
from made_scores import scored_root, write_scores

from m3ray.reports import explained_section
from m3ray.reports.clip_section import add_clips
from m3ray.reports.explained_section import add_explained, choose_explained
from m3ray.reports.page import _render
from m3ray.reports.page_content import Page

NAMES = [f"{k:02d}.mp4" for k in range(30)]


def make_page(root):
    page = Page({}, [], [], None, False)
    add_clips(root, page)
    add_explained(root, page)
    return page


@pytest.fixture
def root(tmp_path):
    return scored_root(tmp_path, NAMES, provenance=None)


def test_a_root_of_scores_alone_has_no_such_section(root):
    page = make_page(root)
    assert page.explained == []
    assert 'class="wide"' not in _render(page)


def test_clips_that_were_asked_for_stand_below_those_at_the_ends(root):
    for clip in ("00.mp4", "15.mp4"):
        write_map(root, clip)
    write_no_map(root, "gone.mp4", "it has no score: it was rejected")
    page = make_page(root)
    assert page.clips[0]["clips"][0]["why"]["map"]["reason"] == ""
    (group,) = page.explained
    assert [card["id"] for card in group["clips"]] == ["15.mp4", "gone.mp4"]
    html = _render(page)
    assert html.count('class="wide"') == 3
    assert "No map: it has no score: it was rejected" in html
    assert '<li><a href="#explained">' in html
    assert html.count("no score</div>") == 1


def test_many_clips_are_cut_to_both_ends(root, monkeypatch):
    monkeypatch.setattr(explained_section, "MOST_SHOWN", 20)
    frame = pd.DataFrame({"clip_id": NAMES, "score": range(30, 0, -1), "split": None})
    assert choose_explained(frame, NAMES[:20])["clip_id"].tolist() == NAMES[:20]
    assert choose_explained(frame, NAMES)["clip_id"].tolist() == [*NAMES[:8], *NAMES[-8:]]


def test_maps_by_a_further_bundle_have_a_group_of_their_own(tmp_path):
    root = make_small_root(tmp_path)
    path = ("predict", "predictions.parquet")
    write_scores(root, ["x", "y"], file=path)
    write_map(root, "x", path)
    html = build_html(root)
    assert "Clips of the folder /predict, scored by ResMem, not trained here" in html
    assert html.count('class="wide"') == 1
    assert "In motion: predict/explanations/overlays/x-" in html


def test_the_page_shows_each_part_with_what_it_was_made_of(root):
    write_map(root, "00.mp4", untrained=True)
    write_map(root, "01.mp4", explanation=make_map("01.mp4", frames=1))
    write_neighbours(root, ["00.mp4"], ["<b>t1</b>", "t2", "t3"])
    write_shots(root, {"00.mp4": [0.5, 0.7, 0.6]})
    html = _render(make_page(root))
    assert "Where and when it is memorable (untrained weights)" in html
    assert "8 versions scored" in html
    assert "&lt;b&gt;t1&lt;/b&gt;" in html
    assert "<b>t1</b>" not in html
    assert 'aria-label="Shot 2 of 3, 2.0 s to 4.0 s, score 0.700"' in html
    assert html.count('<th scope="col">Shot</th>') == 1, "a table for those without JavaScript"
    assert "http" not in html.replace("http://www.w3.org", ""), "nothing is fetched"


def test_hostile_names_are_text(tmp_path):
    name = "<script>alert(1)</script>\"' $x$.mp4"
    root = scored_root(tmp_path, [name], provenance=None)
    write_map(root, name)
    write_no_map(root, "b", "<img src=x>")
    html = _render(make_page(root))
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_page_of_many_maps_and_shots_stays_small(root):
    for clip in NAMES:
        write_map(root, clip)
    write_shots(root, {clip: [0.5, 0.6] * 2_000 for clip in NAMES[:4]})
    assert len(_render(make_page(root))) < 2_000_000
