"""Frames as a player shows them, and what of them is an error."""

import numpy as np
import pytest
from drawn import pictures

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.encode import encode_clip
from m3ray.video.orientation import UPRIGHT
from m3ray.video.shown_frames import Converter, decode_shown_frames, display_matrix
from m3ray.video.video_file import VideoFile

FRAMES = pictures(10)


@pytest.fixture
def video():
    with VideoFile(encode_clip(FRAMES, 10), LimitsConfig()) as file:
        yield file


def test_every_frame_is_shown_once_in_order(video):
    times = [float(frame.pts * video.stream.time_base) for frame in decode_shown_frames(video)]
    np.testing.assert_allclose(np.array(times) - times[0], np.arange(10) / 10, atol=1e-6)


def test_a_second_pass_gives_the_same_frames(video):
    """The packets of the first reading are handed out once; then the file is read again."""
    first, second = ([frame.to_ndarray(format="gray").mean() for frame in decode_shown_frames(video)] for _ in range(2))
    assert len(first) == 10
    assert first == second


def test_a_converted_frame_is_the_picture_that_was_drawn(video):
    converter = Converter()
    means = [converter.convert(frame).mean() for frame in decode_shown_frames(video)]
    np.testing.assert_allclose(means, FRAMES.mean(axis=(1, 2, 3)), atol=2)
    picture = converter.convert(next(decode_shown_frames(video)))
    assert (picture.shape, picture.dtype) == ((96, 128, 3), np.uint8)


def test_a_frame_without_a_display_matrix_is_upright(video):
    assert display_matrix(next(decode_shown_frames(video))) == UPRIGHT


def damaged_at(video, *numbers):
    """The video with the pictures of some packets overwritten."""
    packets = [bytearray(bytes(packet)) for packet in video.scan.packets]
    originals = video.scan.packets
    for number in numbers:
        packets[number][4:] = b"\xff" * (len(packets[number]) - 4)
        memoryview(originals[number])[:] = bytes(packets[number])
    return video


def test_a_picture_that_does_not_decode_is_damage_and_names_its_packet(video):
    with pytest.raises(DecodeError, match=r"packet \d+ of 10") as error:
        list(decode_shown_frames(damaged_at(video, 5)))
    assert error.value.reason == "damaged"
    assert "the file is damaged, copy or convert it again" in error.value.message


def test_without_a_keyframe_nothing_is_shown_and_nothing_is_damaged(video):
    """As of a recording that begins in its middle: what refers to pictures before it is nobody's to see."""
    assert list(decode_shown_frames(damaged_at(video, 0))) == []


def test_a_frame_larger_than_allowed_is_rejected_before_it_is_used():
    with VideoFile(encode_clip(FRAMES, 10), LimitsConfig()) as video:
        video.limits = LimitsConfig(max_pixels=1000)
        with pytest.raises(DecodeError, match=r"128x96 frames, limit 1000 pixels: raise limits\.max-pixels"):
            next(decode_shown_frames(video))
