"""The page in a real browser: nothing on the console, no request, wide and narrow, light and dark, by keyboard."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_beside import write_map, write_neighbours, write_no_map, write_shots
from made_maps import make_map
from made_reports import make_trials
from report import make_synthetic_root

from m3ray.reports.page import build_report, make_environment
from m3ray.reports.study_section import fill_cells
from m3ray.reports.tables.study import build_study_table
from m3ray.scoring.ends import choose_ends

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it (Debian: apt-get install chromium)"),
]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
HOSTILE = "<script>alert(1)</script>\"' ü漢 " + "x" * 300


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    root = make_synthetic_root(tmp_path_factory.mktemp("root") / "root", 300)
    catalogue = root.read_table("catalogue.parquet")
    labels = [[HOSTILE]] * catalogue.num_rows
    place = catalogue.column_names.index("labels")
    kind = catalogue.schema.field("labels")
    import pyarrow as pa

    root.write_table(catalogue.set_column(place, kind, pa.array(labels, kind.type)), "catalogue.parquet")
    explain_clips(root)
    build_report(root.uri)
    return Path(root.path("report", "index.html"))


def explain_clips(root):
    """Maps, neighbours and shots of clips on the page: a clip, an image, one without a map, a film, one asked for."""
    frame = root.read_table("predictions.parquet").to_pandas().sort_values("score", ascending=False)
    if "split" not in frame:
        catalogue = root.read_table("catalogue.parquet", columns=["clip_id", "split"]).to_pandas()
        frame = frame.merge(catalogue, on="clip_id")
    ends, all_clips = choose_ends(frame)["clip_id"].tolist(), frame["clip_id"].tolist()
    write_map(root, ends[0], untrained=True)
    write_map(root, ends[1], explanation=make_map(ends[1], frames=1))
    write_no_map(root, ends[2], "damaged: no frame could be decoded " + "x" * 300)
    write_map(root, next(clip for clip in all_clips if clip not in ends))
    write_neighbours(root, ends[:4], all_clips)
    write_shots(root, {ends[0]: [0.5, 0.8, 0.4, 0.6], ends[3]: [0.5, 0.6, 0.7] * 500, ends[4]: [0.5]})


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, page_file):
    """Opens the page and returns it with what it logged and asked for."""
    contexts = []

    def open_page(**settings):
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        return page, said, asked

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_is_silent_asks_nobody_and_fits(opened, page_file, width, scheme, tmp_path):
    page, said, asked = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
    assert page.evaluate("document.images.length") > 20
    assert broken == 0
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "no sideways scrolling of the page itself"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in background.strip("rgb()").split(",")) / 3
    assert bright > 200 if scheme == "light" else bright < 60
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 50_000


OVERFLOWS = """[...document.querySelectorAll('.scroll:has(table.sortable:not(.clips))')]
    .map(part => [part.getAttribute('aria-label'), part.scrollWidth - part.clientWidth])"""


def test_every_table_of_the_study_fits_at_1280_pixels(opened):
    page, _, _ = opened(viewport={"width": 1280, "height": 900})
    overflows = dict(page.evaluate(OVERFLOWS))
    assert {"Table 1", "Table 2", "Table 3", "Table 4", "Table 5"} <= set(overflows)
    assert {name: over for name, over in overflows.items() if over > 0} == {}, "what is cut is not read"


def test_the_widest_table_fits_too_and_in_letters_that_are_read(browser):
    """Test split, further splits, seven tiers, two full models: all columns that Table 3 may have."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_content(render_table(build_study_table(3, make_wide_trials(), ["M3-S", "M3", "M3 without raw"])))
    assert page.evaluate(OVERFLOWS) == [["Table 3", 0]]
    sizes = "[...document.querySelectorAll('td, td span')].map(part => parseFloat(getComputedStyle(part).fontSize))"
    assert min(page.evaluate(sizes)) >= 12.5
    context.close()


def make_wide_trials():
    trials = make_trials().assign(full=[None, "M3-S", "M3"], test_spearman=0.59, test_mse=0.0072)
    trials["tiers"] = ["raw+scene+event+similarity+captions+clip+resmem", "raw+scene", "scene"]
    splits = {"splits": 5, "splits_spearman": 0.61, "splits_spearman_std": 0.012, "splits_reason": ""}
    trials = trials.assign(**splits, splits_delta=-0.01, splits_delta_std=0.004)
    for prefix, name in (("mse_delta", "mse_delta"), ("test_delta", "test_delta_spearman"), ("test_mse_delta",) * 2):
        numbers = {name: -0.00012, f"{prefix}_low": -0.00022, f"{prefix}_high": 0.00011, f"{prefix}_p": 0.5}
        trials = trials.assign(**numbers, **{f"{prefix}_df": 50.0, f"{prefix}_reason": ""})
    return trials


def render_table(table):
    """A page of one table, in the report's own style."""
    text = (
        '{% from "parts.html" import show_table %}<!doctype html><html lang="en"><body>{% include "style.html" %}'
        "<main>{{ show_table(table) }}</main></body></html>"
    )
    return make_environment().from_string(text).render(table=fill_cells(table) | {"untrained": False})


def test_tables_are_sorted_by_keyboard(opened):
    page, said, _ = opened()
    table = page.locator("table.sortable").nth(2)
    head = table.locator("th", has_text="MSE")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    values = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts() if text]
    assert len(values) > 4
    assert values == sorted(values)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    again = [float(text) for text in table.locator("tbody td:nth-child(3)").all_inner_texts() if text]
    assert again == sorted(values, reverse=True)
    assert said == []


def test_shots_are_gone_through_by_keyboard_and_told(opened):
    page, said, _ = opened()
    timeline = page.locator(".timeline").first
    parts = timeline.locator("button")
    assert parts.count() == 4
    assert timeline.locator("button[tabindex='0']").count() == 1, "one stop for the tab key"
    parts.nth(0).focus()
    presses = {"ArrowRight": 1, "ArrowDown": 2, "ArrowLeft": 1, "End": 3, "ArrowUp": 2, "Home": 0}
    for key, place in presses.items():
        page.keyboard.press(key)
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused == parts.nth(place).get_attribute("aria-label"), key
        assert page.locator(".readout").first.inner_text() == focused
    assert focused == "Shot 1 of 4, 0.0 s to 2.0 s, score 0.500"
    parts.nth(2).hover()
    assert page.locator(".readout").first.inner_text().startswith("Shot 3 of 4")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY", "the other shots are no stops"
    page.keyboard.press("Enter")
    assert page.locator("details[open] table").first.is_visible()
    assert said == []


def test_without_javascript_shots_are_a_table(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.locator("details > summary").first.click()
    assert "2.0 s" in page.locator("details table").first.inner_text()
    assert page.locator(".timeline button").first.get_attribute("title").startswith("Shot 1 of 4")
    context.close()


def test_names_of_tiers_are_whole_on_a_phone(opened):
    page, _, _ = opened(viewport={"width": 200, "height": 800})
    lines = page.locator("table.tiers td:first-child").evaluate_all(
        "cells => cells.map(cell => {const r = document.createRange(); r.selectNodeContents(cell);"
        " return [cell.textContent, r.getClientRects().length]})"
    )
    assert "similarity" in dict(lines)
    assert [name for name, count in lines if count > 1] == [], "broken in the middle of a word"


def test_a_wide_table_shows_on_which_side_it_goes_on(opened):
    """A shade at the edge, behind which there is more; none at the end, where there is no more."""
    page, _, _ = opened(viewport={"width": 390, "height": 800}, color_scheme="light")
    wide = page.locator(".scroll[aria-label='Table 2']")

    def read_edges():
        picture = cv2.imdecode(np.frombuffer(wide.screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
        return [int(np.median(picture[:, column])) for column in (1, -2)]

    left, right = read_edges()
    assert left > 245
    assert right < 215
    wide.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    left, right = read_edges()
    assert left < 215
    assert right > 245


def test_a_film_of_many_shots_stays_narrow_on_a_phone(opened):
    page, _, _ = opened(viewport={"width": 390, "height": 800})
    film = page.locator(".timeline").nth(1)
    assert film.locator("button").count() == 96
    edges = film.evaluate("e => [e.lastElementChild.getBoundingClientRect().right, e.getBoundingClientRect().right]")
    assert edges[0] <= edges[1] + 0.5
    narrowest = film.evaluate("e => Math.min(...[...e.children].map(li => li.getBoundingClientRect().width))")
    assert narrowest >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_gets_through(opened, scheme):
    """axe-core's rules: headings, names, contrast, tables; none broken."""
    from axe_playwright_python.sync_playwright import Axe

    page, _, _ = opened(color_scheme=scheme)
    found = Axe().run(page)
    broken = {v["id"]: [node["html"][:120] for node in v["nodes"][:2]] for v in found.response["violations"]}
    assert len(found.response["passes"]) > 10, "the rules were tried"
    assert broken == {}


def test_the_page_prints(browser, page_file, tmp_path):
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.close()
