"""Measures of recognition memory against published examples and the standard library's normal distribution."""

from statistics import NormalDist

import numpy as np
import pytest

from m3ray.datasets.recognition import CLIPPED, corrected_score, d_prime, rate

NAN = float("nan")
z = NormalDist().inv_cdf


def test_rates_are_shares_and_unknown_where_nobody_was_asked():
    found = rate(np.array([3.0, 0.0, 0.0, NAN, 2.0]), np.array([4.0, 5.0, 0.0, 4.0, NAN]))
    np.testing.assert_array_equal(found, [0.75, 0.0, NAN, NAN, NAN])


def test_rates_of_lists():
    np.testing.assert_array_equal(rate([3, 1], [4, 0]), [0.75, NAN])


def test_the_corrected_score_is_the_difference():
    np.testing.assert_allclose(corrected_score([0.8, 0.2, NAN], [0.1, 0.5, 0.1]), [0.7, -0.3, NAN])


def test_d_prime_of_macmillan_and_creelman_s_example():
    """Detection Theory (2005), chapter 1: 20 of 25 old faces called old, 10 of 25 new ones: z(0.8) - z(0.4) = 1.095."""
    assert d_prime(np.array([0.8]), np.array([0.4]))[0] == pytest.approx(1.095, abs=5e-4)


@pytest.mark.parametrize(
    ("hits", "seen", "false_alarms", "asked"), [(20, 25, 10, 25), (25, 25, 0, 25), (0, 12, 40, 40), (7, 9, 3, 30)]
)
def test_counts_are_corrected_log_linearly(hits, seen, false_alarms, asked):
    """Hautus 1995: half a response is added to each count, one to each number of trials, to all rates alike."""
    expected = z((hits + 0.5) / (seen + 1)) - z((false_alarms + 0.5) / (asked + 1))
    found = d_prime(np.array([hits / seen]), np.array([false_alarms / asked]), np.array([seen]), np.array([asked]))
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_rates_without_counts_are_moved_in_from_nought_and_one():
    found = d_prime(np.array([1.0, 0.9]), np.array([0.0, 0.2]), np.array([NAN, NAN]), None)
    np.testing.assert_allclose(found, [z(CLIPPED[1]) - z(CLIPPED[0]), z(0.9) - z(0.2)], atol=1e-12)


def test_each_side_is_corrected_by_what_is_known_of_it():
    found = d_prime(np.array([1.0, NAN]), np.array([0.0, 0.5]), np.array([10, 10]), np.array([NAN, 10]))
    np.testing.assert_allclose(found, [z(10.5 / 11) - z(CLIPPED[0]), NAN], atol=1e-12)


def test_more_false_alarms_never_help():
    rates = np.linspace(0, 1, 41)
    found = d_prime(np.full(41, 0.8), rates, np.full(41, 40), np.full(41, 40))
    assert (np.diff(found) < 0).all()
