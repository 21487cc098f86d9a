"""Timestamps to seconds. The expected times are written beside the stamps that they follow from."""

from fractions import Fraction

import pytest

from m3ray.video.clock import Clock, Stamp

MS = Fraction(1, 1000)


def shown(stamps, container="matroska", tick=MS, period=0.04):
    clock = Clock(tick, period, container)
    for stamp in stamps:
        clock.show(Stamp(*stamp))
    times, end = clock.timeline()
    return times.round(6).tolist(), round(end, 6)


def test_a_frame_lasts_up_to_the_next_one_and_the_last_one_for_its_own_duration():
    assert shown([(0, 0, 33), (5000, 33, 33), (5017, 5000, 20)]) == ([0, 5, 5.017], 5.037)


def test_a_last_frame_of_unknown_duration_lasts_as_long_as_the_median_one():
    assert shown([(0, None, 0), (100, None, 0), (200, None, 0), (900, None, 0)]) == ([0, 0.1, 0.2, 0.9], 1.0)


def test_where_durations_are_of_decoding_order_the_track_says_when_the_last_frame_ends():
    def end(track_end):
        clock = Clock(MS, 0.04, "mov")
        for stamp in ((0, -80, 40), (40, 0, 120), (80, -40, 120), (200, 40, 120)):
            clock.show(Stamp(*stamp))
        return round(clock.timeline(track_end)[1], 4)

    assert end(0.24) == 0.24
    assert end(0.3195) == 0.32, "a header's thousandths: the packet's own 120 ms are finer"
    assert end(0.1) == 0.24, "a header that ends before the last frame begins says nothing: the median, 40 ms"


def test_a_single_frame_lasts_one_period():
    assert shown([(7, None, 0)]) == ([0], 0.04)


@pytest.mark.parametrize("container", ["mpegts", "matroska"])
def test_recordings_joined_end_to_end_run_on(container):
    part = [(500, 500, 40), (540, 540, 40), (580, 580, 40)]
    assert shown(part + part, container) == ([0, 0.04, 0.08, 0.12, 0.16, 0.2], 0.24)


def test_a_step_back_that_recovers_moves_nothing_after_it():
    stamps = [(0, 0, 40), (40, 40, 40), (20, 80, 40), (120, 120, 40), (660, 160, 40), (200, 200, 40), (240, 240, 40)]
    times, end = shown([(pts, None, own) for pts, _, own in stamps])
    assert times == [0, 0.04, 0.04, 0.12, 0.66, 0.66, 0.66]
    assert end == 0.7
    late = [(1000, None, 40), (1040, None, 40), (1080, None, 40)]
    assert shown([(0, None, 40), (40, None, 40), (20, None, 40), *late])[0][3:] == [1, 1.04, 1.08]


def test_a_jump_ahead_is_a_seam_in_a_transport_stream_and_a_still_picture_elsewhere():
    stamps = [(0, 0, 40), (40, 40, 40), (60_000, 60_000, 40)]
    assert shown(stamps, "mpegts") == ([0, 0.04, 0.08], 0.12)
    assert shown(stamps, "mov") == ([0, 0.04, 60], 60.04)


def test_avi_is_shown_by_decoding_times():
    """FFmpeg makes up (1, 3, 4, 2) for H.264 with B-frames; the frames come in order all the same."""
    stamps = [(1, 2, 1), (3, 3, 1), (4, 4, 1), (2, 5, 1), (60, None, 1)]
    assert shown(stamps, "avi", Fraction(1, 10)) == ([0, 0.1, 0.2, 0.3, 0.4], 0.5)


def test_dropped_frames_of_an_avi_leave_the_one_before_on_the_screen():
    assert shown([(0, 0, 1), (1, 1, 1), (4, 4, 1)], "avi", Fraction(1, 10)) == ([0, 0.1, 0.4], 0.5)


def test_presentation_times_that_run_backwards_more_often_than_decoding_times_are_not_believed():
    """As libavcodec's best effort: after the first fault, decoding times."""
    stamps = [(100, 0, 40), *((0, dts, 40) for dts in (40, 80, 120, 160, 200))]
    assert shown(stamps) == ([0, 0, 0, 0.02, 0.06, 0.1], 0.14)


def test_a_file_whose_times_are_all_equal_is_evenly_spaced():
    assert shown([(0, 0, 0)] * 4, period=0.1) == ([0, 0.1, 0.2, 0.3], 0.4)


def test_frames_without_any_timestamp_follow_one_another():
    assert shown([(None, None, 40)] * 3) == ([0, 0.04, 0.08], 0.12)
