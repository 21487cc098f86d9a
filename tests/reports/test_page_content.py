"""A figure's files, and its place on the page."""

import base64

import pandas as pd
import pytest
from matplotlib import pyplot as plt

from m3ray.reports import page_content
from m3ray.reports.page_content import Page
from m3ray.reports.style import house_style
from m3ray.storage.root import Root


def add_figure(root, page, data, **options):
    with house_style():
        figure, axes = plt.subplots(figsize=(1, 1))
        axes.plot([0, 1])
        page.add_figure(root, (figure, data), "lines", "Lines", "What to see.", "A line", **options)


@pytest.mark.parametrize(("untrained", "weights", "expected"), [(1, 1, True), (1, 0, False), (0, 1, False)])
def test_a_figure_is_written_and_shown(tmp_path, untrained, weights, expected):
    root, page = Root(str(tmp_path)), Page({}, [], [], None, bool(untrained))
    add_figure(root, page, pd.DataFrame({"x": [1, 2], "name": ["a", "=b"]}), weights=bool(weights))
    folder = tmp_path / "report" / "figures"
    assert sorted(path.name for path in folder.iterdir()) == ["lines.csv", "lines.png", "lines.svg"]
    (shown,) = page.figures
    assert (shown.key, shown.title, shown.caption, shown.alt) == ("lines", "Lines", "What to see.", "A line")
    assert base64.b64decode(shown.source.removeprefix("data:image/png;base64,")) == (folder / "lines.png").read_bytes()
    assert shown.untrained is expected, "whether what it draws depends on random weights"


def test_many_rows_are_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(page_content, "_MOST_CSV_ROWS", 2)
    root, page = Root(str(tmp_path)), Page({}, [], [], None, untrained=False)
    add_figure(root, page, pd.DataFrame({"x": [1, 2, 3]}))
    folder = tmp_path / "report" / "figures"
    assert not (folder / "lines.csv").exists()
    assert pd.read_parquet(folder / "lines.parquet")["x"].tolist() == [1, 2, 3]
