"""Table 7: what it says of models that are one for all seeds, and which of them is the best."""

import numpy as np
import pandas as pd
import pytest
from made_reports import add_parts

from m3ray.reports.tables.corrections import correct_table
from m3ray.reports.tables.latex import to_latex
from m3ray.reports.tables.markdown import to_markdown
from m3ray.reports.tables.table7 import build_regressors_table, describe_best
from m3ray.study.variants import name_regressor

NAMES = ["M3", *(name_regressor(name) for name in ("ensemble", "ridge", "svr", "boosting", "constant"))]


def make_rows(deltas=(0.02, -0.03, 0.024, 0.001), low=0.012, runs=4, p=0.0002):
    """The full model and four rows with differences of half width `low`, and a constant, which has none."""
    nan = np.nan
    frame = pd.DataFrame(
        {
            "variant": NAMES,
            "tiers": "text",
            "full": [None, *["M3"] * 5],
            "spearman": [0.59, *(0.59 + delta for delta in deltas), nan],
            "spearman_std": [0.01, 0.005, nan, nan, nan, nan],
            "ensemble_spearman": [0.60, *(0.59 + delta for delta in deltas), nan],
            "mse": [0.0080, 0.0072, 0.0075, 0.00714, 0.0076, 0.0112],
            "mean_error": [-0.04, 0.0002, 0.001, -0.002, 0.0, 0.003],
            "parameters": pd.array([1_000, 2_400, 301, 90_000, 5_000, 1], "Int64"),
            "seconds": [79.0, 270.0, 0.8, 16.0, 9.0, 0.01],
            "runs": pd.array([4, 4, 1, 1, 1, 1], "Int64"),
            "features": 300,
            "status": "done",
            "best_epoch": pd.array([6, *[None] * 5], "Int64"),
            "best_spearman": [0.595, *[nan] * 5],
            "delta_spearman": [nan, *deltas, nan],
            "delta_low": [nan, *(delta - low for delta in deltas), nan],
            "delta_high": [nan, *(delta + low for delta in deltas), nan],
        }
    )
    frame = add_parts(frame, [nan, *[p if abs(d) > low else 0.9 for d in deltas], nan], runs=runs)
    reasons = [*[""] * 5, "4 of 4 runs of the row are undefined (diverged or constant)"]
    return frame.assign(delta_reason=reasons)


def test_each_row_has_its_numbers_and_the_best_is_marked():
    table = build_regressors_table(make_rows(), NAMES)
    shown = table.frame.set_index("Model")
    assert list(shown.index) == NAMES
    assert shown.loc["svr, all tiers", ["rho", "MSE", "Mean error", "Parameters", "Seconds", "Runs"]].tolist() == [
        "0.6140",
        "0.00714",
        "-0.0020",
        "90,000",
        "16.0",
        "1",
    ]
    assert "Best epoch" not in shown, "most rows have none"
    assert (table.best["rho"], table.best["MSE"]) == ((3,), (3,))
    assert table.number == 7


def test_a_model_that_is_one_for_all_seeds_has_no_sd_and_that_is_said():
    table = build_regressors_table(make_rows(), NAMES)
    shown = table.frame.set_index("Model")
    assert shown["rho sd"].tolist() == ["0.0100", "0.0050", "", "", "", ""]
    note = " ".join(table.notes)
    assert "deterministic: one model each, the same for every seed, so they have no sd" in note
    assert "paired with each of its runs" in note


def test_a_constant_s_rank_correlation_is_undefined_and_not_0():
    shown = build_regressors_table(make_rows(), NAMES).frame.set_index("Model")
    assert shown.loc["constant, all tiers", "rho"] == "undefined"
    assert shown.loc["constant, all tiers", "Difference to full"] == "undefined: one score for all clips"
    assert shown.loc["constant, all tiers", "MSE"] == "0.01120"
    assert "Corrected p" in shown
    assert shown.loc["constant, all tiers", "Corrected p"] == ""


def test_the_correction_is_within_the_table_and_needs_three_runs():
    rows = make_rows()
    shown = build_regressors_table(rows, NAMES).frame.set_index("Model")["Difference to full"]
    assert shown["svr, all tiers"].endswith(" *")
    assert not shown["boosting, all tiers"].endswith(" *")
    corrected = correct_table(rows, NAMES)
    # Holm: of four differences the smallest probability counts four times, whatever other tables have.
    assert corrected["svr, all tiers"] == pytest.approx(4 * 0.0002, rel=0.3)
    two = build_regressors_table(make_rows(runs=2), NAMES)
    assert not two.frame["Difference to full"].str.endswith("*").any()


def test_the_best_row_and_whether_it_differs_beyond_noise():
    assert describe_best(make_rows(), NAMES).startswith(
        "Best on val: svr, all tiers, rho 0.6140; +0.0240 [+0.0120, +0.0360] to M3, beyond noise (corrected p "
    )
    within = describe_best(make_rows(deltas=(0.004, -0.03, 0.002, 0.001)), NAMES)
    assert within.startswith("Best on val: ensemble, all tiers, rho 0.5940; +0.0040 [-0.0080, +0.0160] to M3, within")
    assert describe_best(make_rows(deltas=(-0.01, -0.03, -0.02, -0.05)), NAMES) == (
        "Best on val: M3, rho 0.5900; none of the models beside it ranks val better."
    )
    assert "too few runs to tell it from noise" in describe_best(make_rows(runs=2), NAMES)


def test_what_cannot_be_compared_is_open():
    rows = make_rows().assign(delta_low=np.nan, delta_high=np.nan, delta_reason="10 clips: no interval under 20")
    text = describe_best(rows, NAMES)
    assert text.endswith("+0.0240 to M3, and whether that is noise is open: 10 clips: no interval under 20.")
    lost = make_rows()
    lost.loc[3, ["delta_spearman", "delta_low", "delta_high"]] = np.nan
    lost.loc[3, "delta_reason"] = "M3 was not trained"
    assert describe_best(lost, NAMES).endswith("whether it differs from M3 is open: M3 was not trained.")
    nothing = make_rows().assign(spearman=np.nan)
    assert describe_best(nothing, NAMES) == "No model has a rank correlation on val."


def test_a_row_that_failed_is_marked_and_a_missing_ensemble_explained():
    rows = make_rows()
    numbers = rows.columns.difference(["variant", "full", "tiers", "status", "delta_reason"])
    rows.loc[3, numbers] = pd.NA
    rows.loc[3, "status"] = "failed"
    names = [name for name in NAMES if not name.startswith("ensemble")]
    table = build_regressors_table(rows, names)
    shown = table.frame.set_index("Model")
    assert (shown.loc["svr, all tiers", "rho"], shown.loc["svr, all tiers", "Difference to full"]) == ("", "failed")
    assert any(note.startswith("No row of the ensemble") for note in table.notes)
    assert not any("No row of the ensemble" in note for note in build_regressors_table(make_rows(), NAMES).notes)


def test_it_prints_in_markdown_and_latex():
    table = build_regressors_table(make_rows(), NAMES)
    assert to_markdown(table).startswith("**Table 7.** What the MLP is worth")
    assert "svr, all tiers" in to_latex(table)
    assert table.values["corrected_p"].notna().sum() == 4
