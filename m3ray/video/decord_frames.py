"""Decoding with decord, for the kinds of video where it is proven to give the right frames."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig
from m3ray.video.metadata import VideoMetadata
from m3ray.video.orientation import UPRIGHT
from m3ray.video.sampling import Extent, resize, sample_frames, timestamp_rounding
from m3ray.video.shown_frames import decode_shown_frames, display_matrix
from m3ray.video.video_file import VideoFile


class DecordError(Exception):
    """A clip that decord cannot decode, or not further."""


# Container and codec for which decord, read in order, gave the right frame in every generated ramp (tests/ramps.py),
# and whether it did so with frames reordered too. Everything else is PyAV's.
PROVEN_FORMATS = {
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
    """Tell whether decord is installed and proven right for a video.

    Args:
        video: opened video.
    Returns:
        False where anything is cut away, rotated, hidden or without time, or the container and codec are not proven.
    """
    table = video.scan.table
    kind = (video.container, video.codec)
    if find_spec("decord") is None or kind not in PROVEN_FORMATS or (table.reorders() and not PROVEN_FORMATS[kind]):
        return False
    timed = len(np.unique(table.pts)) == len(table) == len(video.times) and not np.isnan(table.pts).any()
    # Frames shown before the first keyframe may lack what they refer to: then no decoder shows them.
    begins = timed and table.keys[0] and table.pts[0] == min(table.pts)
    return begins and all(table.shown) and first_display_matrix(video) == UPRIGHT


def decode_with_decord(
    video: VideoFile, config: DecodeConfig, extent: Extent
) -> Iterator[tuple[VideoMetadata, np.ndarray]]:
    """Decode the sampled frames of a clip as `decode.decode` does, in order, as decord seeks to wrong frames.

    Args:
        video: opened video for which `is_decord_right`.
        config: sampling rate, size of the frames and length of a window.
        extent: what of the clip is wanted.
    Yields:
        The metadata of the clip, and frames: uint8, (T, size, size, 3), RGB.
    Raises:
        DecordError: If decord fails, or sees another number of frames.
    """
    positions = sample_frames(video.times, video.duration, config.fps, timestamp_rounding(video.container))
    metadata = packet_metadata(video, len(positions))
    count = {"first_frame": 1, "first_window": config.window_frames}.get(extent, len(positions))
    reader = _open(video)
    for start in range(0, count, config.window_frames):
        chosen = positions[start : min(count, start + config.window_frames)]
        yield metadata, _read(reader, chosen, 0 if start == 0 else int(positions[start - 1]) + 1, config.size)


def packet_metadata(video: VideoFile, sampled: int) -> VideoMetadata:
    """Make the metadata of a video from what its packets say.

    Args:
        video: opened video.
        sampled: number of frames to be taken.
    Returns:
        Its metadata, with decord as the decoder.
    """
    count, size = len(video.times), (video.stream.width, video.stream.height)
    rate, stored = count / video.duration, video.scan.table.video_bytes
    return VideoMetadata(*size, rate, video.duration, count, sampled, stored, video.container, "decord")


def first_display_matrix(video: VideoFile) -> tuple[float, float, float, float]:
    """Read the display matrix that PyAV's first frame carries; decord rotates by it and does not mirror.

    Args:
        video: opened video.
    Returns:
        (a, b, c, d) of the matrix; that of an upright picture where there is no frame.
    """
    frame = next(decode_shown_frames(video), None)
    return UPRIGHT if frame is None else display_matrix(frame)


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
            out[slot] = resize(reader.next().asnumpy(), size)
        except Exception as error:
            raise DecordError from error
        at = int(position) + 1
    return out
