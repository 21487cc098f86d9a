"""Tables 1 to 3 of the study."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_reports import make_trials

from m3ray.reports.tables import study as tables
from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.markdown import to_markdown


def test_tables_mark_best_second_and_intervals():
    table = tables.build_study_table(3, make_trials(), ["M3-S", "M3", "M3 without raw", "missing"])
    text = to_markdown(table)
    assert "**0.6300**" in text
    assert "<u>0.6100</u>" in text
    assert "**0.00660**" in text
    assert "-0.0300 [-0.0500, -0.0100] *" in text
    assert "-0.0200 [-0.0500, +0.0100] |" in text, "an interval that holds 0 has no mark"
    latex = to_latex(table, "Untrained & so on. ")
    assert r"\bfseries 0.6300" in latex
    assert r"0.6100{\secondbest{0.6100}}" in latex
    assert r"Untrained \& so on" in latex
    assert "nan" not in text.lower() + latex.lower()


def test_table_2_says_that_the_unfrozen_model_was_not_run():
    table = tables.build_study_table(2, make_trials(), ["M3-S", "M3"])
    assert table.frame["Model"].tolist() == ["M3-S", "M3", "M3-S, unfrozen: not run"]
    assert "M3-S, unfrozen: not run" in to_latex(table)


def test_a_model_that_predicts_a_constant_has_no_error_to_rank():
    rows = pd.DataFrame({"mse": [0.1, 0.2], "spearman": [np.nan, 0.5]})
    assert tables.rankable_errors(rows).isna().tolist() == [True, False]


def test_tiers_are_ticks_of_table_3_alone():
    names = ["M3-S", "M3"]
    assert tables.build_study_table(3, make_trials(), names).ticks == ("Raw", "Scene")
    assert tables.build_study_table(1, make_trials(), names).ticks == ()


def test_an_interval_has_as_many_digits_as_its_metric_needs():
    assert tables.interval_text(0.1, -0.2) == "[+0.1000, -0.2000]"
    assert tables.interval_text(0.1, 0.2, "+.5f") == "[+0.10000, +0.20000]"


def test_errors_of_a_small_unit_are_not_all_zero():
    """Decay rates are of the order of 1e-4, their squared errors of 1e-7."""
    trials = make_trials().assign(mse=[5.1e-8, 4.3e-7, 2e-7], mse_delta=[np.nan, 3.8e-7, 1.5e-7], mse_delta_p=0.5)
    trials = trials.assign(mse_delta_low=1e-7, mse_delta_high=5e-7)
    frame = tables.build_study_table(3, trials, list(trials["variant"])).frame
    assert frame["MSE"].tolist() == ["5.1e-08", "4.3e-07", "2e-07"]
    assert frame["Difference in MSE"].tolist()[1] == "+3.8e-07 [+1e-07, +5e-07]"


def test_rows_of_several_full_models_name_theirs():
    trials = make_trials().assign(full=[None, "M3-S", "M3"])
    frame = tables.build_study_table(3, trials, list(trials["variant"])).frame
    assert frame["Full model"].tolist() == ["", "M3-S", "M3"]
    assert "Full model" not in tables.build_study_table(3, make_trials().assign(full="M3-S"), ["M3"]).frame


def test_the_star_is_that_of_the_corrected_probability():
    """Both intervals exclude 0; of two differences Holm takes the smaller p twice."""
    trials = make_trials().assign(delta_p=[np.nan, 0.02, 0.03], delta_high=[np.nan, -0.01, -0.001])
    names = ["M3-S", "M3", "M3 without raw"]
    frame = tables.build_study_table(3, trials, names).frame
    assert frame["Corrected p"].tolist() == ["", "0.040", "0.040"]
    assert [text.endswith("*") for text in frame["Difference to full"]] == [False, True, True]
    table = tables.build_study_table(3, trials.assign(delta_p=[np.nan, 0.03, 0.04]), names)
    assert [text.endswith("*") for text in table.frame["Difference to full"]] == [False, False, False]
    assert table.values["corrected_p"].tolist()[1:] == [0.06, 0.06]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"delta_spearman": np.nan, "status": "done"}, ""),
        ({"delta_spearman": np.nan, "status": "failed: memory"}, "failed: memory"),
        (
            {"delta_spearman": 0.01, "delta_p": np.nan, "delta_reason": "one run: no interval", "status": "done"},
            "+0.0100 (one run: no interval)",
        ),
        (
            {"delta_spearman": 0.5, "delta_p": None, "delta_reason": "2 clips: no interval under 20", "status": "done"},
            "+0.5000 (2 clips: no interval under 20)",
        ),
        (
            {"delta_spearman": np.nan, "delta_reason": "all scores are equal", "status": "done"},
            "all scores are equal",
        ),
        (
            {"delta_spearman": 0.01, "delta_low": 0.0, "delta_p": 0.1, "status": "1 of 4 runs diverged"},
            "+0.0100 (1 of 4 runs diverged)",
        ),
        (
            {"delta_spearman": 0.01, "delta_low": 0.0, "delta_high": 0.02, "boot_low": 0.0, "status": "done"},
            "+0.0100 (an older study: its interval counted runs alone; run the study again)",
        ),
    ],
)
def test_a_difference_without_an_interval_says_why(values, text):
    assert tables.difference_text(values, corrected=0.001) == text


def test_the_test_split_has_its_columns_and_no_star():
    columns = {"test_delta_spearman": -0.02, "test_delta_low": -0.03, "test_delta_high": -0.01, "test_delta_p": 0.001}
    columns |= {"test_mse_delta": 0.0002, "test_mse_delta_low": 0.0001, "test_mse_delta_high": 0.0003}
    trials = make_trials().assign(test_spearman=0.59, test_mse=0.007, **columns, test_mse_delta_p=0.001)
    frame = tables.build_study_table(3, trials, ["M3-S", "M3"]).frame
    assert frame.loc[1, ["rho on test", "MSE on test"]].tolist() == ["0.5900", "0.00700"]
    assert frame.loc[1, "Difference on test"] == "-0.0200 [-0.0300, -0.0100]"
    assert frame.loc[1, "Difference in MSE on test"] == "+0.00020 [+0.00010, +0.00030]"
    assert "rho on test" not in tables.build_study_table(3, make_trials(), ["M3-S", "M3"]).frame


def test_single_runs_ensemble_and_best_epoch_stand_side_by_side():
    frame = tables.build_study_table(3, make_trials(), ["M3-S"]).frame
    shown = ["rho", "rho of the runs' mean", "Best epoch"]
    assert frame.loc[0, shown].tolist() == ["0.6300", "0.6500", "0.6400 (epoch 10)"]
    older = make_trials().drop(columns=["ensemble_spearman"])
    assert "rho of the runs' mean" not in tables.build_study_table(3, older, ["M3-S"]).frame


def test_further_splits_have_a_column():
    trials = make_trials().assign(splits=5, splits_spearman=[0.61, 0.6, np.nan], splits_spearman_std=[0.012, np.nan, 1])
    frame = tables.build_study_table(3, trials, ["M3-S", "M3", "M3 without raw"]).frame
    assert frame["Over splits"].tolist() == ["0.6100 ± 0.0120 (K = 5)", "0.6000 (K = 5)", ""]
    trials = trials.assign(splits_delta=[np.nan, -0.01, -0.02], splits_delta_std=[np.nan, 0.004, np.nan])
    trials["splits_reason"] = ["", "", "1 of 5 splits failed"]
    frame = tables.build_study_table(3, trials, ["M3-S", "M3", "M3 without raw"]).frame
    assert frame["Difference over splits"].tolist() == ["", "-0.0100 ± 0.0040 (K = 5)", "-0.0200 (K = 5)"]
    assert frame["Over splits"].tolist()[2] == "1 of 5 splits failed"


def test_below_a_table_stands_how_to_read_it_and_what_it_could_find():
    table = tables.build_study_table(3, make_trials(), ["M3-S", "M3", "M3 without raw"])
    table = replace(table, notes=(*table.notes, "Settings were selected for M3-S & shared."))
    for text in (to_markdown(table), to_latex(table)):
        below = text.split("M3 without raw")[-1]
        for words in ("is another number", "Holm's correction", "With 4 runs and 1,500 val clips", "For one of 0.005"):
            assert words in below
    assert r"M3-S \& shared" in to_latex(table)
    assert to_latex(table).index(r"\end{tabular}") < to_latex(table).index("Holm")


def test_a_table_whose_val_split_is_tiny_has_no_star_and_says_why():
    """A first trial's ten videos have two val clips: `[+0.5000, +0.5000] *` was printed for noise."""
    trials = make_trials().assign(delta_low=np.nan, delta_high=np.nan, delta_p=np.nan, delta_runs=4, delta_clips=2)
    trials["delta_reason"] = ["", *["2 clips: no interval under 20"] * 2]
    table = tables.build_study_table(3, trials, ["M3-S", "M3", "M3 without raw"])
    assert table.notes == ("No star: 2 clips: no interval under 20.",)
    assert not table.frame["Difference to full"].str.endswith("*").any()
    assert not table.frame["Difference to full"].str.contains("[", regex=False).any()


def test_a_table_of_captions_alone_speaks_of_no_m3():
    trials = make_trials().replace({"M3-S": "captions + similarity", "M3": "captions"})
    table = tables.build_study_table(3, trials, ["captions + similarity", "captions"])
    assert table.title == "Ablation of captions + similarity (leave one tier out)"
    assert "M3" not in table.title + table.frame.to_string()
