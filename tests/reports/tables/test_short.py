"""The short form has the paper's columns, in its order."""

import numpy as np
import pandas as pd
from made_reports import make_trials

from m3ray.reports.tables.short import shorten_table
from m3ray.reports.tables.study import build_study_table
from m3ray.reports.tables.table import Table

NAMES = ["M3-S", "M3"]


def test_tables_have_the_paper_s_columns():
    """Supplement, Tables 1 to 3."""
    for number in (1, 2):
        short = shorten_table(build_study_table(number, make_trials(), NAMES))
        assert list(short.frame) == ["Model", "Features", "rho", "MSE"]
    short = shorten_table(build_study_table(3, make_trials(), NAMES))
    assert list(short.frame) == ["Model", "rho", "MSE", "Features", "Parameters", "Raw", "Scene"]
    assert short.best == {"rho": (0,), "MSE": (1,)}, "marks stay"
    assert short.notes == (), "they are of columns that are left out"


def test_a_contribution_keeps_its_star_and_leaves_its_interval():
    """Supplement, Table 4."""
    heads = ["Metric", "Applied on", "Type", "Ref", "Measure", "Features", "rho", "MSE", "Contribution", "Corrected p"]
    frame = pd.DataFrame({head: ["x", "y"] for head in heads} | {"Applicable to": ["all clips"] * 2})
    frame["Contribution"] = ["+0.0300 [+0.0100, +0.0500] *", "skipped: no labels"]
    short = shorten_table(Table(4, "", frame, frame.assign(delta=np.nan), {}, {}))
    assert short.frame["Contribution"].tolist() == ["+0.0300 *", "skipped: no labels"]
    assert list(short.frame) == [name for name in [*heads, "Applicable to"] if name not in ("Measure", "Corrected p")]


def test_tables_that_the_paper_has_not_have_no_short_form():
    frame = pd.DataFrame({"Parameter": ["Loss"]})
    assert shorten_table(Table(5, "", frame, frame, {}, {})) is None
    assert shorten_table(Table(4, "", pd.DataFrame(), frame, {}, {})) is None
