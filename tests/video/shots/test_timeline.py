"""Shots laid out between cuts: what is joined, and that nothing is left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3ray.video.shots.timeline import Timeline, lay_shots


@given(
    st.integers(1, 400),
    st.lists(st.integers(-5, 420), max_size=60),
    st.floats(1, 60),
    st.floats(0.01, 5),
    st.floats(0.1, 3),
)
def test_shots_leave_nothing_out_and_none_is_too_short(frames, cuts, rate, fps, shortest):
    timeline = Timeline.steady(frames, rate)
    shots = lay_shots(np.array(sorted(set(cuts)), int), timeline, fps, shortest)
    assert shots.frames[0] == shots.slots[0] == shots.starts[0] == 0
    assert shots.frame_counts.sum() == frames
    assert shots.slot_counts.sum() == shots.sampled == len(timeline.sample(fps))
    assert (shots.slot_counts >= 1).all()
    assert set(shots.frames[1:]) <= set(cuts)
    if len(shots) > 1:
        assert (shots.ends - shots.starts >= shortest - 0.0021).all(), "but for rounded times"


def test_a_short_shot_is_joined_to_the_one_before_and_a_short_first_one_to_the_next():
    timeline = Timeline.steady(100, 25)
    shots = lay_shots(np.array([5, 50, 55, 95]), timeline, 15, 0.5)
    assert shots.frames.tolist() == [0, 50], "5 is 0.2 s from the start, 55 from 50, 95 from the end"
    np.testing.assert_allclose(shots.starts, [0, 2])
    np.testing.assert_allclose(shots.ends, [2, 4])


def test_slots_are_the_sampled_frames_from_the_cut_on():
    # At 15 of 25 frames a second, frame k / 15 * 25: 0 1 3 5 6 8 10 11 13 15 16 18 20 21 23 25 ...
    shots = lay_shots(np.array([13, 26]), Timeline.steady(50, 25), 15, 0.1)
    assert shots.slots.tolist() == [0, 8, 16]
    positions = Timeline.steady(50, 25).sample(15)
    assert [positions[slot] for slot in shots.slots] == [0, 13, 26]


def test_a_thousand_cuts_are_bounded_by_the_shortest_shot():
    shots = lay_shots(np.arange(2000), Timeline.steady(2000, 25), 15, 0.5)  # 80 s
    assert len(shots) == 153, "every 13 frames, 0.52 s: 2000 / 13"


def test_an_image_is_one_shot():
    shots = lay_shots(np.array([], int), Timeline(np.zeros(1), 0.0), 15, 0.5)
    assert (len(shots), shots.ends.tolist(), shots.slot_counts.tolist()) == (1, [0.0], [1])


def test_times_are_those_that_a_player_shows():
    times = np.concatenate([np.arange(20) / 20, 1 + np.arange(10) / 5])  # 20 a second, then 5
    shots = lay_shots(np.array([20]), Timeline(times, 3.0), 15, 0.5)
    assert shots.starts.tolist() == [0, 1]
    assert shots.ends.tolist() == pytest.approx([1, 3])


def test_times_that_a_container_rounds_make_no_shot_too_short():
    """15 frames of 1/30 s, written as 0.0333 s, are half a second."""
    timeline = Timeline(np.arange(30) * 0.0333, 30 * 0.0333, rounding=0.001)
    assert lay_shots(np.array([15]), timeline, 15, 0.5).frames.tolist() == [0, 15]
