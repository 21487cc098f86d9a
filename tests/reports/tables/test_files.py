"""The files of a table."""

import io

import pandas as pd
from made_reports import make_trials

from m3ray.reports.tables.files import TABLES, name_files, write_table
from m3ray.reports.tables.study import build_study_table
from m3ray.reports.tables.table import Table
from m3ray.storage.root import Root


def test_a_table_is_written_in_each_form(tmp_path):
    root = Root(str(tmp_path))
    table = build_study_table(3, make_trials(), ["M3-S", "M3"])
    write_table(root, table, "Untrained. ")
    assert sorted(root.list_names(*TABLES)) == ["table3.csv", "table3.md", "table3.tex", "table3_short.tex"]
    assert set(root.list_names(*TABLES)) == set(name_files(3))
    texts = {name: root.read_bytes(*TABLES, name).decode() for name in name_files(3)}
    assert all("Untrained." in text for name, text in texts.items() if not name.endswith(".csv"))
    assert r"\label{tab:table3}" in texts["table3.tex"]
    assert r"\label{tab:table3-short}" in texts["table3_short.tex"]


def test_the_csv_has_full_precision(tmp_path):
    root, third = Root(str(tmp_path)), 1 / 3
    write_table(root, build_study_table(3, make_trials().assign(spearman=third), ["M3-S", "M3"]))
    read = pd.read_csv(io.BytesIO(root.read_bytes(*TABLES, "table3.csv")))
    assert read["spearman"].tolist() == [third, third]


def test_a_table_that_the_paper_has_not_has_no_short_form(tmp_path):
    root, frame = Root(str(tmp_path)), pd.DataFrame({"Parameter": ["Loss"]})
    write_table(root, Table(5, "A title", frame, frame, {}, {}))
    assert sorted(root.list_names(*TABLES)) == ["table5.csv", "table5.md", "table5.tex"]
