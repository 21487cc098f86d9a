"""Which frames are taken: the one that is shown at each k / fps, or each once."""

import io
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from decoding import CONFIG, LIMITS
from hypothesis import given
from hypothesis import strategies as st

from m3ray.video.sampling import ROUNDING, FrameChooser, PictureBuffer, is_faster, resize, sample_frames
from m3ray.video.sandbox import Decoder


def chosen_online(times, fps, rounding=ROUNDING):
    """Frames that are kept as the times come in, the last one too, which is always kept."""
    chooser = FrameChooser(fps, rounding)
    kept = [index - 1 for index, time in enumerate(times) if chooser.add(time)]
    return {*kept, len(times) - 1}


def shown_at(times, duration, fps):
    """By the definition, times exact: the frame shown at k / fps."""
    due = np.arange(int(np.ceil(duration * fps - 1e-6))) / fps
    return [max(k for k, time in enumerate(times) if time <= moment + 1e-9) for moment in due]


def test_a_burst_and_a_still_are_weighted_by_time():
    """One second at 60 frames a second, nine at 2: 15 samples of the first, 135 of the second."""
    times = np.concatenate([np.arange(60) / 60, 1 + np.arange(18) / 2])
    positions = sample_frames(times, 10.0, 15)
    assert (positions < 60).sum() == 15
    assert (positions >= 60).sum() == 135


def test_every_frame_of_a_slow_video_is_taken_once_however_uneven():
    times = np.array([0, 0.1, 0.9, 1.0, 5.0])
    assert sample_frames(times, 5.1, 10).tolist() == [0, 1, 2, 3, 4]


def test_one_gap_that_is_too_short_makes_time_decide():
    times = np.array([0, 0.05, 0.9])
    assert sample_frames(times, 1.0, 10).tolist() == shown_at(times, 1.0, 10) == [0, *[1] * 8, 2]


@pytest.mark.parametrize(("rate", "digits"), [(15, 3), (24, 3), (25, 3), (30, 3), (60, 3), (15, 2)])
def test_rounded_times_at_the_native_rate_take_every_frame_once(rate, digits):
    """Matroska's milliseconds, and at 15 frames a second GIF's hundredths."""
    times = np.round(np.arange(200) / rate, digits)
    assert not is_faster(times, rate, 10.0**-digits)
    assert sample_frames(times, 200 / rate, rate, 10.0**-digits).tolist() == list(range(200))


def test_frames_that_are_never_shown_are_never_taken():
    times = np.array([0, 0.1, 0.1, 0.15, 0.3])
    assert 1 not in sample_frames(times, 0.4, 20)


GAPS = st.lists(st.sampled_from([0.005, 1 / 60, 1 / 30, 0.04, 1 / 15, 0.1, 0.5, 3.0]), min_size=1, max_size=60)


@given(GAPS, st.sampled_from([5, 10, 15, 24, 30]))
def test_what_is_kept_on_the_way_holds_all_that_the_end_asks_for(gaps, fps):
    times = np.concatenate([[0], np.cumsum(gaps)])
    positions = sample_frames(times, times[-1] + gaps[-1], fps)
    assert set(positions.tolist()) <= chosen_online(times, fps)


@given(GAPS, st.sampled_from([7, 10, 15]))
def test_a_fast_video_is_sampled_by_the_definition(gaps, fps):
    times = np.concatenate([[0], np.cumsum(gaps)])
    duration = times[-1] + gaps[-1]
    if is_faster(times, fps, ROUNDING):
        # A frame due within the rounding of a time may be either of two.
        moments = np.arange(len(sample_frames(times, duration, fps))) / fps
        clear = [np.abs(times - moment).min() > 2 * ROUNDING for moment in moments]
        got, right = sample_frames(times, duration, fps), shown_at(times, duration, fps)
        assert [g for g, c in zip(got, clear, strict=True) if c] == [r for r, c in zip(right, clear, strict=False) if c]


def test_a_fast_video_keeps_no_more_than_it_needs():
    times = np.arange(300) / 60
    assert len(chosen_online(times, 15)) <= 77, "75 are due, the last is kept in any case"


def test_held_pictures_come_back_in_any_order_and_in_a_row_without_a_copy():
    pictures = np.random.default_rng(0).integers(0, 256, (7, 20, 30, 3)).astype(np.uint8)
    held = PictureBuffer(3, 16)
    for index, picture in enumerate(pictures):
        held.add(2 * index, picture)
    expected = [resize(picture, 16) for picture in pictures]
    assert np.array_equal(held.take(np.array([0, 2, 4])), expected[:3])
    assert held.take(np.array([6, 8])).base is not None
    assert np.array_equal(held.take(np.array([4, 4, 6, 12])), [expected[k] for k in (2, 2, 3, 6)])
    assert len(held) == 7


def test_sampling_follows_timestamps(decoder):
    """Variable rate: 10 frames in the first second, 30 in the next. At 10 fps both seconds count alike."""
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="matroska") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"

        stream.codec_context.time_base = Fraction(1, 30)
        for time in [*range(0, 30, 3), *range(30, 60)]:
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 20 + 3 * time, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    child = Decoder(replace(CONFIG, fps=10), LIMITS)
    metadata, frames = next(child.windows(buffer.getvalue()))
    child.close()
    assert metadata.frames == 40
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 20 + 9 * np.arange(20), atol=4)


@pytest.mark.parametrize(("fps", "expected"), [(15, 15), (30, 30), (60, 30), (1, 1), (0.1, 1)])
def test_never_above_the_native_rate(fps, expected):
    times = np.arange(30) / 30
    positions = sample_frames(times, 1.0, fps)
    assert len(positions) == expected
    assert (np.diff(positions) >= 1).all()


def test_rounded_timestamps_pick_the_frame_that_is_due():
    """Matroska's milliseconds: 33, 67, 100; at 15 fps every second frame."""
    assert sample_frames(np.round(np.arange(12) / 30, 3), 0.4, 15).tolist() == [0, 2, 4, 6, 8, 10]


def test_resize_averages_when_it_shrinks():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.unique(resize(stripes, 256)).tolist() in ([127], [128])
