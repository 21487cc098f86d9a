"""Tables 1 to 3 in Markdown and LaTeX."""

import numpy as np
import pandas as pd
import pytest
from made_reports import make_trials

from m3ray.reports.tables import study as tables


def test_tables_mark_best_second_and_intervals():
    table = tables.build_study_table(3, make_trials(), ["M3-S", "M3", "M3 without raw", "missing"])
    text = tables.to_markdown(table)
    assert "**0.6300**" in text
    assert "<u>0.6100</u>" in text
    assert "**0.00660**" in text
    assert "-0.0300 [-0.0500, -0.0100] *" in text
    assert "-0.0200 [-0.0500, +0.0100] |" in text, "an interval that holds 0 has no mark"
    latex = tables.to_latex(table, "Untrained & so on. ")
    assert r"\textbf{0.6300}" in latex
    assert r"\underline{0.6100}" in latex
    assert r"Untrained \& so on" in latex
    assert latex.count(r"\\") == 4
    assert "nan" not in text.lower() + latex.lower()


def test_table_2_says_that_the_unfrozen_model_was_not_run():
    table = tables.build_study_table(2, make_trials(), ["M3-S", "M3"])
    assert table.frame["Model"].tolist() == ["M3-S", "M3", "M3-S, unfrozen: not run"]
    assert "M3-S, unfrozen: not run" in tables.to_latex(table)


def test_latex_is_a_table_of_booktabs():
    table = tables.Table(3, "A title", pd.DataFrame({"Model": ["a", "b"], "rho": ["0.1", "0.2"]}), None, {"rho": 1}, {})
    assert tables.to_latex(table, "Note. ") == (
        "\\begin{table}\n\\caption{A title. Note. }\n\\begin{tabular}{lr}\n\\toprule\n"
        "Model & $\\rho\\uparrow$ \\\\\n\\midrule\na & 0.1 \\\\\nb & \\textbf{0.2} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def test_equal_values_have_one_best_and_missing_ones_none():
    best, second = tables.rank_best({"rho": pd.Series([2.0, 1.0, 1.0]), "MSE": pd.Series([np.nan, np.nan, np.nan])})
    assert (best, second) == ({"rho": 1}, {"rho": 2})
    assert tables.rank_best({"MSE": pd.Series([np.nan, 3.0])}) == ({"MSE": 1}, {})


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.1, 0.2, "[+0.1000, +0.2000] *"),
        (-0.2, -0.1, "[-0.2000, -0.1000] *"),
        (-0.1, 0.1, "[-0.1000, +0.1000]"),
        (np.nan, 0.1, ""),
    ],
)
def test_an_interval_that_excludes_0_has_an_asterisk(low, high, text):
    assert tables.interval_text(low, high) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"delta_spearman": np.nan, "status": "done"}, ""),
        ({"delta_spearman": np.nan, "status": "failed: memory"}, "failed: memory"),
        ({"delta_spearman": 0.01, "delta_low": np.nan, "status": "done"}, "+0.0100 (one run: no interval)"),
        (
            {"delta_spearman": 0.01, "delta_low": 0.0, "status": "1 of 4 runs diverged"},
            "+0.0100 (1 of 4 runs diverged)",
        ),
    ],
)
def test_a_difference_without_an_interval_says_why(values, text):
    assert tables.difference_text(values) == text
