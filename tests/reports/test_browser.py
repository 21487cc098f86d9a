"""The page in a real browser: nothing on the console, no request, wide and narrow, light and dark, by keyboard."""

import shutil
from pathlib import Path

import pytest
from report import make_synthetic_root

from m3ray.reports.page import build_report

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
    build_report(root.uri)
    return Path(root.path("report", "index.html"))


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


def test_tables_are_sorted_by_keyboard(opened):
    page, said, _ = opened()
    table = page.locator("table.sortable").nth(2)
    head = table.locator("th", has_text="MSE")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    values = [float(text) for text in table.locator("tbody td:nth-child(4)").all_inner_texts() if text]
    assert len(values) > 4
    assert values == sorted(values)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    again = [float(text) for text in table.locator("tbody td:nth-child(4)").all_inner_texts() if text]
    assert again == sorted(values, reverse=True)
    assert said == []


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
