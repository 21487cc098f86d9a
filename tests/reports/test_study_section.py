"""The study on the page: its tables and headline."""

from made_reports import fill_page, make_trials

from m3ray.reports.study_section import _table_content, add_study
from m3ray.reports.tables.study import build_study_table


def test_tables_that_were_not_asked_for_are_named(root):
    tables = root.read_json("study", "ablation", "tables.json")
    root.write_json({name: tables[name] for name in ("3", "measures")}, "study", "ablation", "tables.json")
    page = fill_page(root, add_study)
    assert any("Table 1 was not asked for: run jobs/ablate.py --tables 1" in line for line in page.missing)
    assert [table["number"] for table in page.tables] == [3, 5]


def test_cells_of_the_best_two_are_marked():
    content = _table_content(build_study_table(3, make_trials(), ["M3-S", "M3", "M3 without raw"]))
    rho, mse = content["columns"].index("rho"), content["columns"].index("MSE")
    assert [row[rho]["mark"] for row in content["rows"]] == ["best", "", "second"]
    assert [row[mse]["mark"] for row in content["rows"]] == ["second", "best", ""]
    assert {row[0]["mark"] for row in content["rows"]} == {""}
