"""Means over repeated splits: what is undefined stays so, and says why."""

import numpy as np
import pandas as pd
import pytest

from m3ray.study.fold_results import FoldResult, add_splits, make_fold_frame

TRIALS = pd.DataFrame({"variant": ["full", "row", "unfrozen"], "full": [None, "full", "full"]})


def result(variant, fold, spearman, reason=None):
    return FoldResult(variant, fold, 8, 4, spearman, None if spearman is None else spearman / 10, reason)


FULL = [result("full", 0, 0.4), result("full", 1, 0.6)]


def test_differences_are_taken_split_by_split():
    """By hand: row - full is 0.1 and 0.3; the deviation of two numbers is their distance over the root of 2."""
    table = add_splits(TRIALS, [*FULL, result("row", 0, 0.5), result("row", 1, 0.9)], 2).set_index("variant")
    assert table.loc["row", "splits_spearman"] == pytest.approx(0.7)
    assert table.loc["row", "splits_spearman_std"] == pytest.approx(0.4 / np.sqrt(2))
    assert table.loc["row", "splits_mse"] == pytest.approx(0.07)
    assert table.loc["row", "splits_delta"] == pytest.approx(0.2)
    assert table.loc["row", "splits_delta_std"] == pytest.approx(0.2 / np.sqrt(2))
    assert table.loc["row", "splits"] == 2
    assert table.loc["row", "splits_reason"] is None


def test_one_undefined_split_leaves_no_mean_over_the_others():
    results = [*FULL, result("row", 0, 0.5), result("row", 1, None, "1 of 4 runs diverged or are constant")]
    table = add_splits(TRIALS, results, 2).set_index("variant")
    for name in ("spearman", "spearman_std", "mse", "mse_std", "delta", "delta_std"):
        assert np.isnan(table.loc["row", f"splits_{name}"]), name
    assert table.loc["row", "splits"] == 2
    assert table.loc["row", "splits_reason"] == (
        "undefined in 1 of 2 splits; split 2: 1 of 4 runs diverged or are constant"
    )
    assert table.loc["full", "splits_spearman"] == pytest.approx(0.5)


def test_a_variant_that_was_not_trained_in_them_has_no_splits():
    table = add_splits(TRIALS, FULL, 2).set_index("variant")
    assert table.loc["unfrozen", "splits"] is pd.NA
    assert np.isnan(table.loc["unfrozen", "splits_spearman"])
    assert table.loc["unfrozen", "splits_reason"] == "not trained in these splits"


def test_the_file_has_a_row_a_variant_and_split():
    frame = make_fold_frame([FULL[0], result("row", 0, None, "why")])
    assert frame.columns.tolist() == ["variant", "fold", "spearman", "mse", "train", "val", "reason"]
    assert frame["spearman"].tolist()[0] == 0.4
    assert np.isnan(frame["spearman"][1])
    assert frame["reason"].tolist() == [None, "why"]
    assert make_fold_frame([]).columns.tolist() == frame.columns.tolist()


def test_a_result_is_json_and_back():
    for one in (FULL[0], result("row", 1, None, "why")):
        assert FoldResult(**one.as_json()) == one
