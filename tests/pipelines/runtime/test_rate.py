"""The pace of the last minutes, and durations in words."""

import pytest

from m3ray.pipelines.runtime.rate import RecentRate, duration


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def after(clock, rate, seconds, finished):
    clock.now += seconds
    rate.add(finished)


def test_the_pace_is_that_of_the_last_minutes(clock):
    """Ten minutes of waiting for nodes, then 10 clips each 10 s: 1 clip/s, not 12 in 720 s."""
    rate = RecentRate(clock)
    assert rate.per_second() is None
    assert rate.seconds_left(5) is None
    clock.now += 600
    for k in range(1, 31):
        after(clock, rate, 10, 10 * k)
    assert rate.per_second() == pytest.approx(1.0)
    assert rate.seconds_left(120) == pytest.approx(120)


def test_commits_that_lie_minutes_apart_still_give_a_pace(clock):
    """256 clips each 10 minutes, all of them longer apart than the window."""
    rate = RecentRate(clock)
    for k in range(1, 8):
        after(clock, rate, 600, 256 * k)
    assert rate.per_second() == pytest.approx(256 / 600)
    clock.now += 599  # the next commit is not due yet
    assert rate.per_second() == pytest.approx(256 / 600)


def test_a_standstill_slows_the_pace(clock):
    """3 gaps of 10 s with 10 clips each; 60 s late: 30 clips in 90 s."""
    rate = RecentRate(clock)
    for k in range(1, 4):
        after(clock, rate, 10, 10 * k)
    clock.now += 70
    assert rate.per_second() == pytest.approx(30 / 90)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (720, "12 min"), (3 * 3600 + 1800, "3.5 h"), (200_000, "2.3 days")],
)
def test_durations_as_a_person_says_them(seconds, said):
    assert duration(seconds) == said
