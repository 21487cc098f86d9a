"""Labels and names of tiers are others' words: none becomes a formula, a command or a tag in what a report writes."""

import csv
import io

import numpy as np
import pandas as pd
import pyarrow as pa

from m3ray.reports.page import build_report
from m3ray.reports.tables import study as tables
from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.markdown import to_markdown
from m3ray.study.variants import UNFROZEN_MARK

NAME = '=HYPERLINK("x")<img src=x onerror=alert(1)>|a\nb~^\\input{/etc/passwd}'


def trials():
    row = {
        "variant": NAME,
        "tiers": "raw",
        "full": None,
        "status": "done",
        "features": 2783,
        "parameters": 1,
        "runs": 4,
        "spearman": 0.6,
        "spearman_std": 0.01,
        "mse": 0.006,
        "test_spearman": np.nan,
        "delta_spearman": np.nan,
        "delta_low": np.nan,
        "delta_high": np.nan,
        "delta_p": np.nan,
    }
    return pd.DataFrame([row, row | {"variant": f"b{UNFROZEN_MARK}", "full": NAME, "tiers": "a_b+<i>"}])


def table():
    return tables.build_study_table(3, trials(), [NAME, f"b{UNFROZEN_MARK}"])


def test_latex_runs_no_command_of_a_name():
    text = to_latex(table())
    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"\input" not in text
    assert r"a\_b" in text.lower(), "heads are names too"
    assert r"\textasciitilde{}\textasciicircum{}" in text
    body = text.split("\\midrule\n")[1].split("\n\\bottomrule")[0]
    assert len(body.splitlines()) == 2, "a row a line"


def test_markdown_holds_no_tag_of_a_name():
    text = to_markdown(table())
    assert "<img" not in text
    assert "<i>" not in text.lower()
    assert "&lt;img" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1, "a bar within a name is no column"


def test_no_cell_of_a_report_is_a_formula(root):
    catalogue = root.read_table("catalogue.parquet")
    place, kind = catalogue.column_names.index("labels"), catalogue.schema.field("labels").type
    labels = pa.array([['=HYPERLINK("https://example.org")', "@SUM(1)", "+1+cmd|' /C calc'!A0"]] * len(catalogue), kind)
    root.write_table(catalogue.set_column(place, catalogue.schema.field("labels"), labels), "catalogue.parquet")
    build_report(root.uri)
    found = [
        cell
        for folder in ("tables", "figures")
        for name in root.list_names("report", folder, suffix=".csv")
        for row in csv.reader(io.StringIO(root.read_bytes("report", folder, name).decode()))
        for cell in row
    ]
    assert any("HYPERLINK" in cell for cell in found), "the labels are drawn, so their data are there"
    assert not [cell for cell in found if cell.startswith(("=", "@", "+"))]
    assert not [cell for cell in found if cell.startswith("-") and not is_number(cell)]
    html = root.read_bytes("report", "index.html").decode()
    assert '=HYPERLINK("https' not in html


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
