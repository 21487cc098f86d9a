"""Intervals that adapt to the score: coverage of each tenth of the predictions, in simulations that hold the truth."""

import math

import numpy as np
import pytest
from conformal import DRAWS, fit_plain, simulate
from hypothesis import given
from hypothesis import strategies as st

from m3ray.scoring.intervals import (
    IntervalRule,
    conformal_quantile,
    cross_validate_intervals,
    fit_intervals,
    fit_plain_intervals,
)


def test_the_quantile_is_the_next_rank_up():
    """Vovk et al. 2005: the ceil((n + 1) 0.9)-th smallest of n; by hand for 9, 19 and 20 values of 1, 2, ..."""
    assert conformal_quantile(np.arange(1, 10)) == 9
    assert conformal_quantile(np.arange(1, 20)) == 18
    assert conformal_quantile(np.arange(1, 21)) == 19
    assert conformal_quantile(np.arange(1, 9)) == math.inf, "with 8 values the 9th is asked for"


def test_the_plain_rule_covers_what_it_says():
    """2,000 rows, 1,000 to calibrate; coverage is an expectation over draws, so 20 of them: 90 % +- 2."""
    covered = []
    for seed in range(20):
        errors = np.random.default_rng(seed).standard_normal(2000)
        low, high = fit_plain_intervals(errors[:1000])(np.zeros(1000))
        covered.append(np.mean((low <= errors[1000:]) & (errors[1000:] <= high)))
    assert abs(np.mean(covered) - 0.9) < 0.02


def test_too_few_clips_give_intervals_without_an_end():
    low, high = fit_plain_intervals(np.full(8, 0.1))(np.array([0.2, 0.9]))
    assert [*low, *high] == [-math.inf] * 2 + [math.inf] * 2
    rule = fit_intervals(np.linspace(0, 1, 5), np.linspace(0, 1, 5) ** 2)
    assert rule.high.tolist() == [math.inf]


def test_between_nine_and_thirty_clips_the_rule_is_the_plain_one():
    scores = np.linspace(0.3, 0.9, 15)
    truth = scores + np.linspace(-0.1, 0.14, 15)
    rule, plain = fit_intervals(scores, truth), fit_plain_intervals(truth - scores)
    assert (rule.low, rule.high) == (plain.low, plain.high) == (-0.14, pytest.approx(0.14))


@pytest.mark.parametrize("clips", [100, 300, 1500])
@pytest.mark.parametrize("name", ["even", "skewed", "fan", "bow"])
def test_each_tenth_of_the_predictions_is_covered(name, clips):
    """The goal is 0.87 to 0.93, for the mean over draws.

    Coverage of a tenth deviates by about 0.06, 0.045 and 0.026 from draw to draw of the calibration clips.
    """
    draws = {100: 40, 300: 30, 1500: 8}[clips]
    got = simulate(DRAWS[name], fit_intervals, clips, draws)
    error = {100: 0.06, 300: 0.045, 1500: 0.026}[clips] / math.sqrt(draws)
    assert got.tenths.min() > 0.87 - 2 * error
    assert got.tenths.max() < 0.93 + 2 * error
    assert 0.885 < got.whole < 0.925


@pytest.mark.parametrize(("clips", "held"), [(30, 9), (50, 19), (75, 25)])
def test_nine_in_ten_are_covered_whatever_errors_are_like(clips, held):
    """Split-conformal: in expectation at least 0.9, and less than one rank more, 1 / (n + 1) of n clips held out.

    Errors of a Cauchy distribution, which have no mean, and larger by the square of the score.
    """

    def draw(count, rng):
        scores = rng.uniform(0, 1, count)
        return scores, scores + scores**2 * rng.standard_cauchy(count)

    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rule = fit_intervals(*draw(clips, rng))
        scores, truth = draw(500, rng)
        low, high = rule(scores)
        covered.append(np.mean((low <= truth) & (truth <= high)))
    error = np.std(covered, ddof=1) / math.sqrt(len(covered))
    assert 0.9 - 2 * error < np.mean(covered) < 0.9 + 1 / (held + 1) + 2 * error


@pytest.mark.parametrize("name", ["skewed", "fan"])
def test_the_plain_rule_covers_too_few_of_the_lowest_tenth(name):
    """What this is for: the same draws under one half width for all."""
    assert simulate(DRAWS[name], fit_plain, 300, 20).tenths[0] < 0.8


def test_intervals_follow_skew():
    """Errors that reach far down and little up: the interval does too."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.5, 0.9, 600)
    rule = fit_intervals(scores, scores + 0.02 - 0.02 * rng.exponential(2, 600))
    assert (-rule.low[5:-5] > 2 * rule.high[5:-5]).all()


def test_a_rule_does_not_depend_on_the_order_of_units():
    """Ten times the scores and errors: ten times the intervals, as for a target of other units."""
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 1, 200)
    truth = scores + rng.normal(0, 0.05 + 0.1 * scores)
    small, large = fit_intervals(scores, truth), fit_intervals(10 * scores, 10 * truth)
    np.testing.assert_allclose(large.low, 10 * small.low, rtol=1e-6)
    np.testing.assert_allclose(large.high, 10 * small.high, rtol=1e-6)


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        (np.full(50, 0.5), np.linspace(0, 1, 50)),  # one score for all clips
        (np.linspace(0, 1, 50), np.linspace(0, 1, 50)),  # no error at all
        (np.repeat([0.4, 0.6], 25), np.tile([0.3, 0.7], 25)),  # two scores
        (np.append(np.full(49, 0.5), 0.9), np.linspace(0, 1, 50)),
    ],
)
def test_degenerate_clips_give_finite_ordered_intervals(scores, truth):
    low, high = fit_intervals(scores, truth)(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite([low, high]).all()
    assert (low <= high).all()


def test_one_error_among_exact_scores_gives_finite_intervals():
    """Where it is not among the clips that the shape is fitted on, they have no error at all."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        scores = rng.random(40)
        truth = scores.copy()
        truth[rng.integers(40)] += 0.2
        rule = fit_intervals(scores, truth)
        assert np.isfinite([rule.low, rule.high]).all()
        assert np.abs([rule.low, rule.high]).max() <= 0.3


@st.composite
def draw_clips(draw):
    """Scores and errors of some 9 to 80 clips: few distinct values, so that ties and zeros are common, of any size."""
    count = draw(st.integers(9, 80))
    numbers = st.floats(-1e100, 1e100, allow_nan=False) | st.floats(-1, 1) | st.just(0.0)
    levels = [draw(st.lists(numbers, min_size=1, max_size=count)) for _ in range(2)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tuple(rng.choice(values, count) for values in levels)


@given(draw_clips(), st.booleans())
def test_any_finite_clips_give_finite_ordered_intervals(clips, near):
    scores, truth = clips
    truth = scores + truth if near else truth
    rule = fit_intervals(scores, truth)
    assert np.isfinite([rule.low, rule.high]).all()
    assert (rule.low <= rule.high).all()
    assert (np.diff(rule.knots) > 0).all()


def test_a_rule_is_a_line_between_knots_and_level_beyond():
    rule = IntervalRule(np.array([0.4, 0.6]), np.array([-0.2, -0.1]), np.array([0.1, 0.3]))
    low, high = rule(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(low, [-0.2, 0.35, 0.9])
    np.testing.assert_allclose(high, [0.1, 0.7, 1.3])


def test_cross_validated_coverage_is_that_of_clips_left_out():
    """A rule that remembers the clips it saw covers none of the others."""
    scores = np.linspace(0, 1, 40)

    def remember(seen, truth):
        assert len(seen) == 36
        return lambda new: (np.where(np.isin(new, seen), 0, 2.0), np.ones(len(new)))

    assert not cross_validate_intervals(scores, scores, remember).any()
    rng = np.random.default_rng(0)
    truth = scores.repeat(25) + rng.normal(0, 0.1, 1000)
    covered = cross_validate_intervals(scores.repeat(25) + rng.normal(0, 1e-6, 1000), truth)
    assert covered.shape == (1000,)
    assert abs(covered.mean() - 0.9) < 0.02
