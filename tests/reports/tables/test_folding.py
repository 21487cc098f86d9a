"""The columns of the page: nothing that a table's files say is lost, but for names that stand in one column."""

import numpy as np
import pandas as pd
from made_reports import make_trials

from m3ray.reports.tables.folding import FoldedCell, fold_table
from m3ray.reports.tables.study import build_study_table
from m3ray.reports.tables.table import Table

NAMES = ["M3-S", "M3", "M3 without raw"]


def read_row(table, row):
    folded = fold_table(table)
    return dict(zip(folded.columns, folded.rows[row], strict=True))


def test_numbers_that_belong_together_stand_below_one_another():
    table = build_study_table(3, make_trials().assign(full=[None, "M3-S", "M3"]), NAMES)
    row, p = read_row(table, 1), table.frame.loc[1, "Corrected p"]
    assert list(row) == ["Model", "rho", "MSE", "Features", "Tiers used", "Runs", "Difference to full"]
    assert row["rho"].lines == ("0.6000 ± 0.0200", "runs' mean 0.6200", "best 0.6400 (epoch 10)")
    assert row["Features"].lines == ("2,783", "1,458,305 parameters")
    assert row["Difference to full"].lines == ("-0.0300 *", "[-0.0500, -0.0100]", "to M3-S", f"corrected p {p}")


def test_what_a_row_lacks_has_no_line():
    row = read_row(build_study_table(3, make_trials(), NAMES), 0)
    assert row["Difference to full"].lines == ("",)
    without = read_row(build_study_table(3, make_trials(), NAMES), 2)
    assert without["rho"].lines[0] == "0.6100", "a model of one run has no deviation"


def test_marks_are_kept():
    table = build_study_table(3, make_trials(), NAMES)
    assert [read_row(table, row)["rho"].mark for row in range(3)] == ["best", "", "second"]
    assert [read_row(table, row)["MSE"].mark for row in range(3)] == ["second", "best", ""]


def test_ticks_are_one_column_of_words_however_many_tiers_there_are():
    trials = make_trials().assign(tiers=["raw+scene+captions+resmem", "scene", "captions"])
    shown = [read_row(build_study_table(3, trials, NAMES), row)["Tiers used"].lines for row in range(3)]
    assert shown == [("Raw, Scene, Captions, ResMem",), ("Scene",), ("Captions",)]


def test_every_number_of_the_files_is_on_the_page():
    trials = make_trials().assign(test_spearman=0.59, test_mse=0.0071, splits=5, splits_spearman=0.61)
    trials = trials.assign(splits_spearman_std=0.012, splits_delta=[np.nan, -0.01, -0.02], splits_reason="")
    for number in (1, 2, 3):
        table = build_study_table(number, trials, NAMES)
        said = " ".join(line for row in fold_table(table).rows for cell in row for line in cell.lines)
        for column in table.frame.drop(columns=list(table.ticks)):
            for text in table.frame[column]:
                for part in text.replace(" *", "").split(" ["):
                    assert part in said, (number, column, text)


def test_a_table_without_such_columns_stays_as_it_is():
    frame = pd.DataFrame({"Parameter": ["Loss"], "M3-S": ["MSE (tails: gain 2)"]})
    folded = fold_table(Table(5, "", frame, frame, {}, {}))
    assert folded.columns == ("Parameter", "M3-S")
    assert folded.rows == ((FoldedCell(("Loss",), ""), FoldedCell(("MSE (tails: gain 2)",), "")),)
