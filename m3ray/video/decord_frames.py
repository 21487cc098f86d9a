"""Decoding with decord, where it is proven to deliver the frames that are asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig
from m3ray.video.orientation import UPRIGHT
from m3ray.video.sampling import Extent, Facts, resized, rounding_of, sampled_frames
from m3ray.video.shown_frames import matrix_of, shown_frames
from m3ray.video.video_file import VideoFile


class DecordError(Exception):
    """decord cannot serve a clip, or not further."""


# Container and codec for which decord, read in order, gave the right frame in every generated ramp (tests/ramps.py),
# and whether it did so with frames reordered too. Everything else is PyAV's.
RIGHT = {
    ("mov", "h264"): True,
    ("mov", "hevc"): True,
    ("mov", "mpeg4"): True,
    ("matroska", "h264"): True,
    ("matroska", "hevc"): True,
    ("matroska", "mpeg4"): True,
    ("avi", "mpeg4"): False,
    ("avi", "mjpeg"): False,
}


def is_decord_right(video: VideoFile) -> bool:
    """Whether decord is there and proven right for such a video: nothing cut away, turned, hidden or without time."""
    table = video.scan.table
    kind = (video.container, video.codec)
    if find_spec("decord") is None or kind not in RIGHT or (table.reorders() and not RIGHT[kind]):
        return False
    timed = len(np.unique(table.pts)) == len(table) == len(video.times) and not np.isnan(table.pts).any()
    # What leads up to the first keyframe by showing order may lack what it refers to: then nobody shows it.
    begins = timed and table.keys[0] and table.pts[0] == min(table.pts)
    return begins and all(table.shown) and first_matrix(video) == UPRIGHT


def decord_windows(video: VideoFile, config: DecodeConfig, extent: Extent) -> Iterator[tuple[Facts, np.ndarray]]:
    """As `decode.decode`; each frame is read after the one before it, as decord's seeking lands on others.

    Raises:
        DecordError: decord fails, or sees another number of frames.
    """
    positions = sampled_frames(video.times, video.duration, config.fps, rounding_of(video.container))
    facts = facts_of(video, len(positions))
    wanted = {"first_frame": 1, "first_window": config.window_frames}.get(extent, len(positions))
    if extent == "one_window" and len(positions) > config.window_frames:
        yield facts, np.empty((0, config.size, config.size, 3), np.uint8)
        return
    reader = _open(video)
    for start in range(0, wanted, config.window_frames):
        chosen = positions[start : min(wanted, start + config.window_frames)]
        yield facts, _read(reader, chosen, 0 if start == 0 else int(positions[start - 1]) + 1, config.size)


def facts_of(video: VideoFile, sampled: int) -> Facts:
    """What the packets of a video say."""
    count, size = len(video.times), (video.stream.width, video.stream.height)
    rate, stored = count / video.duration, video.scan.table.video_bytes
    return Facts(*size, rate, video.duration, count, sampled, stored, video.container, "decord")


def first_matrix(video: VideoFile) -> tuple[float, float, float, float]:
    """The display matrix, as PyAV's first frame carries it; decord turns by it and does not mirror."""
    frame = next(shown_frames(video), None)
    return UPRIGHT if frame is None else matrix_of(frame)


def _open(video: VideoFile) -> Any:
    # Imported here: beside torch in one process its old native libraries were seen to hang, so only the decoding
    # child, which has no torch, ever loads it.
    import decord

    try:
        reader = decord.VideoReader(io.BytesIO(video.data), num_threads=1)
    except Exception as error:  # decord raises types of its own, some of them straight from C++
        raise DecordError from error
    if len(reader) != len(video.times):
        raise DecordError
    return reader


def _read(reader: Any, positions: np.ndarray, at: int, size: int) -> np.ndarray:
    out = np.empty((len(positions), size, size, 3), np.uint8)
    for slot, position in enumerate(positions):
        if slot and position == positions[slot - 1]:
            out[slot] = out[slot - 1]
            continue
        try:
            for _ in range(at, int(position)):  # its own way of skipping lands on other frames of fragmented files
                reader.next()
            out[slot] = resized(reader.next().asnumpy(), size)
        except Exception as error:
            raise DecordError from error
        at = int(position) + 1
    return out
