"""For which videos decord is let decode. That it then gives the right frames is shown by test_ramps.py."""

import importlib.util

import numpy as np
import pytest
from drawn import pictures
from hostile import encoded

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.video import decord_frames
from m3ray.video.decord_frames import first_display_matrix, is_decord_right, packet_metadata
from m3ray.video.encode import encode_clip
from m3ray.video.orientation import UPRIGHT
from m3ray.video.video_file import VideoFile

needs_decord = pytest.mark.skipif(importlib.util.find_spec("decord") is None, reason="decord is not installed")


def opened(data):
    return VideoFile(data, LimitsConfig())


@needs_decord
def test_a_plain_h264_clip_is_decord_s():
    with opened(encode_clip(pictures(10), 10)) as video:
        assert is_decord_right(video)


@pytest.mark.parametrize(("container", "codec"), [("mpegts", "libx264"), ("matroska", "libvpx"), ("avi", "libx264")])
def test_kinds_that_are_not_proven_are_pyav_s(container, codec):
    with opened(encoded(pictures(10), container, codec)) as video:
        assert (video.container, video.codec) not in decord_frames.PROVEN_FORMATS
        assert not is_decord_right(video)


def test_nothing_is_decord_s_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(decord_frames, "find_spec", lambda _: None)
    with opened(encode_clip(pictures(4), 10)) as video:
        assert not is_decord_right(video)


def test_a_hidden_packet_or_two_frames_of_one_time_are_pyav_s(monkeypatch):
    monkeypatch.setattr(decord_frames, "find_spec", lambda _: "decord")
    with opened(encode_clip(pictures(6), 10)) as video:
        assert is_decord_right(video)
        video.scan.table.shown[3] = False
        assert not is_decord_right(video)
        video.scan.table.shown[3] = True
        video.scan.table.pts[3] = video.scan.table.pts[2]
        assert not is_decord_right(video)


def test_metadata_are_what_the_packets_say():
    data = encode_clip(pictures(12), 10)
    with opened(data) as video:
        metadata = packet_metadata(video, 7)
    assert (metadata.width, metadata.height, metadata.frames, metadata.sampled) == (128, 96, 12, 7)
    assert [metadata.native_fps, metadata.duration] == pytest.approx([10, 1.2])
    assert 0 < metadata.video_bytes < len(data)
    assert (metadata.container, metadata.decoder) == ("mov", "decord")


def test_the_display_matrix_is_the_first_frame_s():
    with opened(encode_clip(pictures(2), 10)) as video:
        assert first_display_matrix(video) == UPRIGHT


@needs_decord
@pytest.mark.parametrize(("extent", "lengths"), [("all", [4, 4, 2]), ("first_window", [4]), ("first_frame", [1])])
def test_windows_are_those_that_are_wanted(extent, lengths):
    config = DecodeConfig(size=32, window_frames=4)
    with opened(encode_clip(pictures(10), 10)) as video:
        windows = list(decord_frames.decode_with_decord(video, config, extent))
    assert [len(frames) for _, frames in windows] == lengths
    assert windows[0][1].dtype == np.uint8
    assert windows[0][1].shape[1:] == (32, 32, 3)
