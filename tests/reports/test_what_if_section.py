"""What if, on the page: the figure with its caption, or how to get it."""

import json

import pandas as pd
import pyarrow as pa
import pytest
from made_reports import make_small_root

from m3ray.config.presets import CARBON
from m3ray.reports.run_section import start_page
from m3ray.reports.style import house_style
from m3ray.reports.what_if_section import add_what_if
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.study.partial_dependence import ACCUMULATED, PARTIAL


def make_curves(runs=4):
    rows = [
        {"feature": name, "kind": kind, "value": value, "effect": value, "spread": 0.1, "runs": runs}
        for name in ("brightness", *(f"hog_{k}" for k in range(10)))
        for kind in (PARTIAL, ACCUMULATED)
        for value in (0.0, 1.0)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def root(tmp_path):
    return make_small_root(tmp_path)


def add(root, curves=None, **made):
    if curves is not None:
        made = {"model": "bundle m3s", "target": "score", "clips": 1234, "level": [], **made}
        table = pa.Table.from_pandas(curves, preserve_index=False)
        table = table.replace_schema_metadata({METADATA_KEY: json.dumps(made)})
        root.write_table(table, "study", "ablation", "what_if.parquet")
    page = start_page(root, {}, CARBON, None)
    with house_style():
        add_what_if(root, page)
    return page


def test_the_figure_says_what_it_is_of_and_what_it_is_not(root):
    page = add(root, make_curves(), level=["contrast"])
    (figure,) = page.figures
    assert figure.key == "what_if"
    assert "the score of bundle m3s" in figure.caption
    assert "1,234 train clips" in figure.caption
    assert "one standard deviation over 4 runs" in figure.caption
    assert "what the model does, not what makes people remember" in figure.caption
    assert "Of HOG's 10 components those 5 are drawn" in figure.caption
    assert figure.caption.endswith("Left out, as they do not vary: contrast.")
    assert all(root.exists("report", "figures", f"what_if.{end}") for end in ("png", "svg", "csv"))


def test_one_run_is_said_to_have_no_band(root):
    assert "one run, so no band" in add(root, make_curves(runs=1)).figures[0].caption


def test_a_study_without_curves_says_how_to_get_them(root):
    page = add(root)
    assert not page.figures
    assert any("m3ray ablate again" in line for line in page.missing)


def test_features_that_do_not_vary_are_said_and_a_root_without_a_study_says_nothing(root, tmp_path):
    assert any(
        "none varies (brightness, hog_0)" in x
        for x in add(root, make_curves()[:0], level=["brightness", "hog_0"]).missing
    )
    page = add(make_small_root(tmp_path / "bare", study=False))
    assert not any("what if" in line for line in page.missing)
