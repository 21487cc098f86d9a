"""First frames of clips, and as images of a page."""

import base64

import cv2
import numpy as np
import pytest

from m3ray.reports.thumbnails import as_data_uri, read_first_frames


def test_frames_keep_their_shape_and_bad_videos_are_left_out(root, tmp_path):
    good = root.read_table("catalogue.parquet").to_pandas().iloc[0]["uri"]
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    frames = read_first_frames({"good": good, "bad": str(tmp_path / "bad.mp4"), "none": ""})
    assert list(frames) == ["good"]
    assert frames["good"].shape[1] == 224
    assert frames["good"].dtype == np.uint8


def test_a_frame_becomes_a_small_jpeg():
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[..., 0] = 200
    source = as_data_uri(frame)
    data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == frame.shape
    assert picture[20, 30] == pytest.approx([0, 0, 200], abs=6), "red is red: OpenCV's order is turned round"


def test_clips_without_an_address_are_not_tried():
    assert read_first_frames({"a": "", "b": ""}) == {}
