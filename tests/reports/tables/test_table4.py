"""Table 4: each measure alone, and what it adds."""

import numpy as np
import pandas as pd
from made_reports import add_parts

from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.table4 import build_measures_table
from m3ray.study.table_list import MeasureNotes


def make_measure_trials():
    """M3-S with DBSCAN, M3, and two measures: one trained, one that is constant."""
    rows = [
        ("M3-S", None, 0.63, np.nan, np.nan, np.nan, "done"),
        ("M3", "M3-S", 0.60, -0.03, -0.05, -0.01, "done"),
        ("similarity alone", None, 0.34, np.nan, np.nan, np.nan, "done"),
        ("kde alone", None, np.nan, np.nan, np.nan, np.nan, "4 of 4 runs diverged or are constant"),
        ("M3 + kde", "M3", 0.61, 0.01, -0.01, 0.03, "done"),
    ]
    names = ["variant", "full", "spearman", "delta_spearman", "delta_low", "delta_high", "status"]
    frame = pd.DataFrame(rows, columns=names)
    frame = add_parts(frame, [np.nan, 0.01, np.nan, np.nan, 0.4])
    return frame.assign(features=852, spearman_std=0.01, mse=0.01, ensemble_spearman=0.7, test_spearman=np.nan)


def test_table_4_prints_what_each_measure_is_adds_and_lacks():
    notes = MeasureNotes("dbscan", "M3-S", {"kde_labels": "no label has 150 train clips"})
    table = build_measures_table(make_measure_trials(), notes)
    frame = table.frame.set_index("Measure")
    assert list(frame.index) == ["kde", "kde_labels", "dbscan"], "the paper's order; others were not asked for"
    assert frame.loc["dbscan", "Contribution"] == "+0.0300 [+0.0100, +0.0500] *", "M3's, turned round"
    assert frame.loc["kde", "Contribution"] == "+0.0100 [-0.0100, +0.0300]"
    assert frame.loc["kde", "rho"] == "undefined: 4 of 4 runs diverged or are constant"
    assert frame.loc["kde_labels", "Contribution"] == "skipped: no label has 150 train clips"
    assert frame.loc["kde_labels", ["Ref", "Applicable to"]].tolist() == ["4.b", "clips with labels"]
    assert frame.loc["dbscan", "Corrected p"] == "0.020", "Holm's of two"
    assert "nan" not in to_markdown(table).lower()
    assert table.values.set_index("measure").loc["dbscan", ["delta_low", "delta_high"]].tolist() == [0.01, 0.05]
    assert "after the correction for 2 differences" in table.notes[-1]


def test_the_row_that_table_3_has_too_says_why_its_corrected_p_is_another():
    """The contribution of dbscan is Table 3's M3, turned round: one difference, corrected in either table."""
    trials = make_measure_trials()
    table = build_measures_table(trials, MeasureNotes("dbscan", "M3-S", {}))
    (note,) = [note for note in table.notes if "Table 3" in note]
    assert note.startswith("The contribution of dbscan is Table 3's difference of M3 to M3-S, turned round;")
    assert "corrects for its own table's differences" in note
    for own in (None, "knn_distance"):
        notes = build_measures_table(trials, MeasureNotes(own, "M3-S", {})).notes
        assert not any("Table 3" in note for note in notes), "no row here is one of Table 3's"


def test_the_csv_of_table_4_has_what_the_table_says_of_a_measure():
    notes = MeasureNotes("dbscan", "M3-S", {"kde_labels": "no label has 150 train clips"})
    values = build_measures_table(make_measure_trials(), notes).values.set_index("measure")
    assert values.loc["kde", ["metric", "applied_on", "type", "ref"]].tolist() == [
        "KDE",
        "training set",
        "density",
        "4.a",
    ]
    assert values.loc["kde_labels", "status"] == "skipped: no label has 150 train clips"
    assert values.loc["dbscan", ["delta_runs", "delta_clips"]].tolist() == [4, 1500]


def test_table_4_shows_the_test_split_where_there_is_one():
    trials = make_measure_trials().assign(test_spearman=0.5, test_mse=0.02)
    columns = {"test_delta_spearman": 0.02, "test_delta_low": 0.01, "test_delta_high": 0.04, "test_delta_p": 0.01}
    trials = trials.assign(**columns)
    frame = build_measures_table(trials, MeasureNotes("dbscan", "M3-S", {})).frame.set_index("Measure")
    assert frame.loc["kde", "rho on test"] == "0.5000"
    assert frame.loc["kde", "Contribution on test"] == "+0.0200 [+0.0100, +0.0400]"
    assert frame.loc["dbscan", "Contribution on test"] == "-0.0200 [-0.0400, -0.0100]", "turned round"


def test_a_measure_that_was_not_added_to_m3_has_no_contribution():
    trials = make_measure_trials()
    trials = trials[~trials["variant"].isin(["M3", "M3 + kde"])]
    frame = build_measures_table(trials, MeasureNotes("dbscan", "M3-S", {})).frame.set_index("Measure")
    assert frame["Contribution"].tolist() == ["", ""]


def test_a_measure_that_is_added_to_captions_is_not_added_to_m3():
    names = {"M3-S": "captions + similarity", "M3": "captions", "M3 + kde": "captions + kde"}
    table = build_measures_table(
        make_measure_trials().replace(names), MeasureNotes("dbscan", "captions + similarity", {})
    )
    assert table.title.endswith("and their contribution to captions")
    assert "M3" not in " ".join(table.notes)
    assert table.frame.set_index("Measure").loc["kde", "Contribution"].startswith("+0.0100"), "and it is found"
