"""The study on the page: its tables and headline."""

import numpy as np
import pytest
from made_reports import fill_page, make_trials

from m3ray.reports.study_section import _build_headline, _table_content, add_study
from m3ray.reports.tables.study import build_study_table


def test_tables_that_were_not_asked_for_are_named(root):
    tables = root.read_json("study", "ablation", "tables.json")
    root.write_json({name: tables[name] for name in ("3", "measures")}, "study", "ablation", "tables.json")
    page = fill_page(root, add_study)
    assert any("Table 1 was not asked for: run jobs/ablate.py --tables 1" in line for line in page.missing)
    assert [table["number"] for table in page.tables] == [3, 5]


def test_the_headline_is_the_full_model_s():
    row = make_trials().set_index("variant").loc["M3-S"]
    headline = _build_headline(row, "M3-S", 1500)
    assert headline["rho"] == "0.6300 ± 0.0100"
    assert (headline["mse"], headline["best"]) == ("0.00670", "0.6400, epoch 10")
    assert (headline["features"], headline["parameters"], headline["clips"]) == ("2,783", "1,458,305", "1,500")
    assert headline["test"] == "", "no clip has the split test"
    low, high = map(float, headline["interval"].split(" to "))
    assert low < 0.63 < high
    assert high - low == pytest.approx(2 * 1.96 * (1 - 0.63**2) / 1500**0.5, rel=0.15)


def test_a_constant_prediction_has_an_undefined_headline():
    row = make_trials().set_index("variant").loc["M3-S"]
    row = row.where(~row.index.isin(["spearman", "spearman_std", "best_spearman", "mse"]), np.nan)
    headline = _build_headline(row, "M3-S", 10)
    assert [headline[key] for key in ("rho", "interval", "mse", "best")] == ["undefined", "", "undefined", "undefined"]


def test_cells_of_the_best_two_are_marked():
    content = _table_content(build_study_table(3, make_trials(), ["M3-S", "M3", "M3 without raw"]))
    rho, mse = content["columns"].index("rho"), content["columns"].index("MSE")
    assert [row[rho]["mark"] for row in content["rows"]] == ["best", "", "second"]
    assert [row[mse]["mark"] for row in content["rows"]] == ["second", "best", ""]
    assert {row[0]["mark"] for row in content["rows"]} == {""}
