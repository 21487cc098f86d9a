"""A clip taken apart into shots while it is decoded, against slices of the whole."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3ray.errors import DecodeError
from m3ray.video.metadata import VideoMetadata
from m3ray.video.shots.pieces import iter_shot_pieces
from m3ray.video.shots.timeline import Shots, Timeline, lay_shots


def make_clip(sampled, window):
    frames = np.arange(sampled).reshape(-1, 1, 1, 1)
    metadata = VideoMetadata(1, 1, 10.0, sampled / 10, sampled, sampled, 100 * sampled, "mp4")
    return frames, [(metadata, frames[k : k + window]) for k in range(0, sampled, window)]


@given(st.integers(1, 150), st.lists(st.integers(1, 149), max_size=12), st.integers(1, 40), st.integers(1, 40))
def test_pieces_are_slices_however_the_frames_arrive(sampled, cuts, arriving, width):
    frames, windows = make_clip(sampled, arriving)
    shots = lay_shots(np.array(sorted(set(cuts)), int), Timeline.steady(sampled, 10.0), 15.0, 0.01)
    pieces = list(iter_shot_pieces(windows, shots, width))
    expected = [
        (shot, first)
        for shot, (start, end) in enumerate(pairwise([*shots.slots.tolist(), sampled]))
        for first in range(start, end, width)
    ]
    assert [(piece.shot, int(piece.frames[0, 0, 0, 0])) for piece in pieces] == expected
    np.testing.assert_array_equal(np.concatenate([piece.frames for piece in pieces]), frames)
    for piece in pieces:
        assert piece.count == -(-shots.slot_counts[piece.shot] // width)
        assert len(piece.frames) <= width
        assert piece.metadata.sampled == shots.slot_counts[piece.shot]
        assert piece.metadata.video_bytes == 100 * shots.frame_counts[piece.shot]
        assert piece.metadata.native_fps == pytest.approx(10.0)


def test_the_one_shot_of_a_clip_has_the_clip_s_own_metadata():
    _, windows = make_clip(30, 8)
    shots = lay_shots(np.array([], int), Timeline.steady(30, 10.0), 15.0, 0.5)
    assert {piece.metadata for piece in iter_shot_pieces(windows, shots, 8)} == {windows[0][0]}


@pytest.mark.parametrize("sampled", [29, 31])
def test_other_frames_than_the_shots_were_found_in(sampled):
    _, windows = make_clip(sampled, 8)
    shots = lay_shots(np.array([], int), Timeline.steady(30, 10.0), 15.0, 0.5)
    with pytest.raises(DecodeError, match="30 when its shots were found"):
        list(iter_shot_pieces(windows, shots, 8))


def test_a_clip_that_ends_early_is_told():
    _, windows = make_clip(30, 10)
    shots = Shots(np.array([0]), np.array([0]), np.array([0.0]), 3.0, 30, 30)
    with pytest.raises(DecodeError, match="20 sampled frames now"):
        list(iter_shot_pieces(windows[:2], shots, 16))
