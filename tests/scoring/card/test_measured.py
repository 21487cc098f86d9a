"""Numbers of a card and their intervals, against plain SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from made_cards import make_known, make_pairs, make_unknown
from scipy import stats

from m3ray.scoring.card.measured import measure_bundle, measure_coverage
from m3ray.scoring.intervals import cross_validate_intervals


def rows_of(bundle):
    return {(row.metric, row.where): row for row in measure_bundle(bundle)}


def test_numbers_of_val_have_the_intervals_of_their_clips():
    rows, (scores, truth) = rows_of(make_known()), make_pairs().astype(np.float64)
    rho = rows["rho", "val"]
    r = stats.spearmanr(scores, truth).statistic
    margin = 1.959964 * np.sqrt((1 + r**2 / 2) / (200 - 3))  # Bonett and Wright 2000
    assert (rho.value, rho.low, rho.high, rho.clips) == (
        pytest.approx(r),
        pytest.approx(np.tanh(np.arctanh(r) - margin)),
        pytest.approx(np.tanh(np.arctanh(r) + margin)),
        200,
    )
    for name, values in (
        ("MSE", (scores - truth) ** 2),
        ("MAE", np.abs(scores - truth)),
        ("mean error", scores - truth),
    ):
        low, high = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
        row = rows[name, "val"]
        assert (row.value, row.low, row.high) == (
            pytest.approx(values.mean(), abs=1e-6),
            pytest.approx(low, abs=1e-6),
            pytest.approx(high, abs=1e-6),
        )


def test_test_comes_first_with_an_interval_of_its_number_of_clips():
    rows = measure_bundle(make_known())
    assert (rows[0].metric, rows[0].where, rows[0].value, rows[0].clips) == ("rho", "test", 0.5, 100)
    assert rows[0].low < 0.5 < rows[0].high
    assert rows_of(make_known())["MSE", "test"].low is None


def test_weighted_numbers_keep_their_value_and_have_no_interval_of_plain_means():
    bundle = make_known()
    trained = {**bundle.metadata.trained_on, "val_mse": 0.02}
    row = rows_of(replace(bundle, metadata=replace(bundle.metadata, trained_on=trained)))["MSE", "val"]
    assert (row.value, row.low) == (0.02, None)


def test_clips_out_of_fold_are_a_set_of_their_own():
    rows = rows_of(make_known(calibrated_on="train, 5 folds"))
    assert {where for _, where in rows} == {"test", "val", "train, 5 folds"}
    assert ("MAE", "val") not in rows
    assert rows["MSE", "val"].low is None


def test_few_clips_and_older_bundles_have_what_is_known():
    few = replace(make_known(), calibration=make_pairs(10))
    assert rows_of(few)["MAE", "val"].low is None
    assert measure_bundle(make_unknown()) == []
    assert measure_coverage(make_unknown()) is None
    assert measure_coverage(few) is None


def test_coverage_is_cross_validated_with_the_interval_of_a_share():
    scores, truth = make_pairs().astype(np.float64)
    hits = int(cross_validate_intervals(scores, truth).sum())
    expected = stats.binomtest(hits, 200).proportion_ci(0.95, method="exact")
    found = measure_coverage(make_known())
    assert (found.value, found.low, found.high) == (
        hits / 200,
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
