"""Holm's correction of each table's differences."""

import numpy as np
import pandas as pd
import pytest

from m3ray.reports.tables.corrections import correct_table, correct_tables, has_star, list_compared

TRIALS = pd.DataFrame(
    {
        "variant": ["M3-S", "M3", "a", "b"],
        "delta_spearman": [np.nan, 0.1, 0.2, 0.3],
        "delta_p": [np.nan, 0.01, 0.02, 0.5],
    }
)


def test_each_table_is_corrected_for_its_own_differences():
    """By hand: 0.02 counts twice beside one other, 0.01 three times beside two."""
    found = correct_tables(TRIALS, {2: ["M3-S", "a", "b", "a"], 3: ["M3-S", "M3", "a", "b", "gone"]}, None)
    assert found[2] == pytest.approx({"M3-S": np.nan, "a": 0.04, "b": 0.5}, nan_ok=True)
    assert found[3] == pytest.approx({"M3-S": np.nan, "M3": 0.03, "a": 0.04, "b": 0.5}, nan_ok=True)


def test_table_4_counts_the_full_model_s_own_measure():
    assert list_compared(4, ["a", "b"], "kde") == ["a", "b", "M3"]
    assert list_compared(4, ["a", "b"], None) == list_compared(3, ["a", "b"], "kde") == ["a", "b"]
    assert correct_tables(TRIALS, {4: ["a", "b"]}, "kde")[4]["a"] == pytest.approx(0.04)


@pytest.mark.parametrize(("runs", "star"), [(2, False), (3, True), (8, True)])
def test_two_runs_earn_no_star(runs, star):
    """benchmarks/statistics.py: of tables of two runs that differ by chance alone up to a third had a false star."""
    found = correct_tables(TRIALS.assign(delta_runs=runs), {3: ["M3-S", "M3", "a", "b"]}, None)[3]
    assert has_star(found["M3"]) == star
    assert np.isnan(found["b"]) == (not star)


def test_an_older_study_has_no_probability_and_no_star():
    older = TRIALS.drop(columns="delta_p").assign(delta_low=0.05, delta_high=0.15)
    assert np.isnan(list(correct_table(older, ["M3", "a"]).values())).all()
    assert [has_star(p) for p in (0.049, 0.05, np.nan)] == [True, False, False]
