"""Curves of features against functions whose curves are known, and against scikit-learn."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.inspection import partial_dependence as peer

from m3ray.study.partial_dependence import (
    ACCUMULATED,
    PARTIAL,
    NumberedFeatures,
    accumulated_local_effects,
    find_quantiles,
    partial_dependence,
    trace_features,
)


def draw_pairs(correlation, clips=4000):
    generator = np.random.default_rng(0)
    first = generator.uniform(0, 1, clips)
    second = correlation * first + (1 - correlation) * generator.uniform(0, 1, clips)
    return np.stack([first, second], axis=1)


def test_the_ale_of_a_product_is_that_of_its_closed_form():
    """Of f = x y with y = x: df/dx = y = x at a clip's own place, so that ALE(x) = x^2 / 2 less its mean.

    Partial dependence is x E[y], a line: it gives clips pairs that no clip has.
    """
    rows = np.repeat(np.random.default_rng(0).uniform(0, 1, (4000, 1)), 2, axis=1)
    edges = find_quantiles(rows[:, 0])
    curve = accumulated_local_effects(lambda r: (r[:, 0] * r[:, 1])[None], rows, 0, edges)
    expected = edges**2 / 2
    inside = rows[(rows[:, 0] >= edges[0]) & (rows[:, 0] <= edges[-1]), 0]
    assert np.abs(curve.effects[0] - (expected - (inside**2 / 2).mean())).max() < 1e-3
    line = partial_dependence(lambda r: (r[:, 0] * r[:, 1])[None], rows, 0, edges).effects[0]
    assert np.allclose(np.diff(line) / np.diff(edges), rows[:, 1].mean())


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_of_an_additive_model_the_two_curves_are_one(correlation):
    rows = draw_pairs(correlation)
    edges = find_quantiles(rows[:, 0])

    def predict(r):
        return np.stack([np.sin(3 * r[:, 0]) + r[:, 1], 2 * np.sin(3 * r[:, 0])])

    ale, pd = (f(predict, rows, 0, edges).effects for f in (accumulated_local_effects, partial_dependence))
    assert np.allclose(ale, pd, atol=1e-12)
    assert np.allclose(ale[1], 2 * ale[0], atol=1e-12)  # each run has its own curve
    assert np.allclose(np.diff(ale[0]), np.diff(np.sin(3 * edges)))


def test_a_feature_that_goes_along_with_another_one_but_is_not_seen_has_no_effect():
    rows = draw_pairs(0.9)
    for curve in (accumulated_local_effects, partial_dependence):
        assert np.allclose(curve(lambda r: r[:, 1][None], rows, 0, find_quantiles(rows[:, 0])).effects, 0)


def test_partial_dependence_is_scikit_learns():
    rows = draw_pairs(0.5, 300)
    model = GradientBoostingRegressor(n_estimators=20, random_state=0).fit(rows, rows[:, 0] * rows[:, 1])
    values = find_quantiles(rows[:, 0])
    own = partial_dependence(lambda r: model.predict(r)[None], rows, 0, values).effects[0]
    theirs = peer(model, rows, [0], custom_values={0: values}, method="brute")["average"][0]
    assert np.allclose(np.diff(own), np.diff(theirs))


def test_curves_are_centred_on_the_clips_and_leave_them_as_they_are():
    rows = draw_pairs(0.5, 500)
    before, values = rows.copy(), find_quantiles(rows[:, 0])
    for curve in (accumulated_local_effects, partial_dependence):
        found = curve(lambda r: (r[:, 0] ** 2)[None], rows, 0, values)
        inside = rows[(rows[:, 0] >= values[0]) & (rows[:, 0] <= values[-1]), 0]
        assert np.interp(inside, values, found.effects[0]).mean() == pytest.approx(0, abs=1e-12)
    assert np.array_equal(rows, before)


def test_quantiles_are_numbers_that_clips_have_each_once():
    assert find_quantiles(np.array([3.0] * 99 + [4.0])).tolist() == [3.0]
    values = np.repeat([1.0, 2.0, 5.0], 10)
    assert find_quantiles(values).tolist() == [1.0, 2.0, 5.0]
    assert find_quantiles(np.arange(1, 101))[[0, -1]].tolist() == [5, 95]  # the 5th and the 95th of 100


def test_curves_are_told_in_own_units_with_their_spread_over_the_runs():
    rows = draw_pairs(0.0, 200)
    scaled = np.column_stack([(rows[:, 0] - 0.5) / 0.3, rows[:, 1], np.ones(len(rows))])
    features = NumberedFeatures(["brightness", "level"], [0, 2], np.array([0.5, 0, 0]), np.array([0.3, 1, 1]))
    frame, level = trace_features(lambda r: np.stack([r[:, 0], 3 * r[:, 0]]), scaled, features)
    assert level == ["level"]
    assert set(frame["kind"]) == {PARTIAL, ACCUMULATED}
    assert set(frame["feature"]) == {"brightness"}
    one = frame[frame["kind"] == PARTIAL]
    assert np.allclose(one["value"], find_quantiles(rows[:, 0]))
    # Runs of slopes 1 and 3 in scaled units: their mean is 2, their deviation sqrt(2) times the distance.
    assert np.allclose(np.diff(one["effect"]), 2 * np.diff(one["value"]) / 0.3)
    centred = one["effect"] / 2
    assert np.allclose(one["spread"], np.sqrt(2) * np.abs(centred))
    assert (one["runs"] == 2).all()


def test_one_run_has_no_spread_and_nothing_varied_no_curve():
    frame, _ = trace_features(
        lambda r: r[:, 0][None], draw_pairs(0, 50), NumberedFeatures(["a"], [0], np.zeros(2), np.ones(2))
    )
    assert frame["spread"].isna().all()
    frame, level = trace_features(
        lambda r: r[:, 0][None], np.ones((9, 1)), NumberedFeatures(["a"], [0], np.zeros(1), np.ones(1))
    )
    assert (len(frame), level) == (0, ["a"])


def test_edges_are_clips_own_values_and_such_a_clip_counts_below_its_edge():
    """Of f = x y: from 0 to 1 are the clips (0, 0), (1, 1), (1, 1), of mean y 2/3; from 1 to 2 those of y = 5."""
    rows = np.array([[0, 0], [1, 1], [1, 1], [2, 5], [2, 5]], float)
    curve = accumulated_local_effects(lambda r: (r[:, 0] * r[:, 1])[None], rows, 0, np.array([0.0, 1, 2]))
    assert np.allclose(np.diff(curve.effects[0]), [2 / 3, 5])
