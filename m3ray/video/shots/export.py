"""Shots written as files, in the decoding child: copied where that shows just the shot's frames, else encoded anew."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av.error
import numpy as np

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.decode import ShownTimes
from m3ray.video.image_formats import detect_image
from m3ray.video.shots.colours import differ, shrink
from m3ray.video.shots.copying import copy_shot, find_packets
from m3ray.video.shots.encoding import encode_shots
from m3ray.video.shots.every_frame import conclude_timeline
from m3ray.video.shots.span import Span
from m3ray.video.shots.timeline import Timeline
from m3ray.video.shots.written import WrittenShot, list_containers
from m3ray.video.shown_frames import decode_shown_frames
from m3ray.video.video_file import VideoFile, error_text

_PULSE_FRAMES = 25
_FAILURES = (av.error.FFmpegError, DecodeError, ValueError)


@dataclass(frozen=True)
class _Seen:
    """What a first pass over a video learned.

    Args:
        timeline: when its frames are shown.
        spans: the shots that are wanted, with the stamps and the pictures of their frames.
    """

    timeline: Timeline
    spans: list[Span]


def export_shots(
    data: bytes,
    limits: LimitsConfig,
    ranges: Sequence[tuple[int, int]],
    pulse: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, WrittenShot | str]]:
    """Write shots of a video as files, each of which is decoded again before it is handed on.

    A shot that begins at a key frame, and whose packets show no other frame, is copied, sound along; any other one is
    encoded anew, as a copy would begin or end with frames of another shot.

    Args:
        data: bytes of the video.
        limits: per-clip limits of pixels and seconds.
        ranges: of each shot its first frame and the one behind its last, among those that are shown; ascending, apart.
        pulse: function that is called now and then while nothing is yielded.
    Yields:
        The number of the shot among those wanted, and its file; or why there is none, in a line.
    Raises:
        DecodeError: If the video cannot be decoded, or is an image.
    """
    if detect_image(data) is not None:
        raise DecodeError("not_a_video", "an image has no shot to be written: take the image itself", stage="demux")
    seen = _look(data, limits, ranges, pulse)
    left = []
    for number, span in enumerate(seen.spans):
        copy = _try_copy(data, limits, span)
        if copy is None:
            left.append((number, span))
        else:
            yield number, copy
    for number, file in encode_shots(data, limits, left, seen.timeline, pulse):
        yield number, file if isinstance(file, str) else _check_encoded(file, limits, seen.spans[number])


def _look(data: bytes, limits: LimitsConfig, ranges: Sequence[tuple[int, int]], pulse: Callable[[], None]) -> _Seen:
    """Decode a video, and keep what tells the frames of the wanted shots."""
    stamps: list[list[int | None]] = [[] for _ in ranges]
    pictures: list[list[int]] = [[] for _ in ranges]
    looks: list[dict[int, np.ndarray]] = [{} for _ in ranges]
    with VideoFile(data, limits) as video:
        times, current = ShownTimes(video), 0
        for index, frame in enumerate(decode_shown_frames(video)):
            times.add(frame)
            if index % _PULSE_FRAMES == 0:
                pulse()
            while current < len(ranges) and index >= ranges[current][1]:
                current += 1
            if current < len(ranges) and index >= ranges[current][0]:
                stamps[current].append(frame.pts)
                pictures[current].append(_checksum(frame))
                first, end = ranges[current]
                if index in (first, (first + end) // 2):
                    looks[current][index - first] = shrink(frame)
        timeline = conclude_timeline(video, times)
    shown = len(timeline.times)
    if any(not 0 <= first < end <= shown for first, end in ranges):
        raise DecodeError("damaged", f"{shown} frames are shown now, fewer than when its shots were found")
    spans = [
        Span(first, end, tuple(stamps[k]), tuple(pictures[k]), *_span_seconds(timeline, first, end), looks[k])
        for k, (first, end) in enumerate(ranges)
    ]
    return _Seen(timeline, spans)


def _span_seconds(timeline: Timeline, first: int, end: int) -> tuple[float, float]:
    stop = timeline.duration if end == len(timeline.times) else float(timeline.times[end])
    return float(timeline.times[first]), stop


def _checksum(frame: Any) -> int:
    """A number that tells two pictures apart, bit by bit."""
    total = 0
    for plane in frame.planes:
        total = zlib.crc32(memoryview(plane), total)
    return total


def _try_copy(data: bytes, limits: LimitsConfig, span: Span) -> WrittenShot | None:
    """A copy of a shot that shows its frames, bit by bit; None where there is none."""
    with VideoFile(data, limits) as video:
        packets = find_packets(video.scan.table, span)
        if packets is None:
            return None
        for container in list_containers(video, data):
            try:
                written = copy_shot(video, span, packets, container)
                if _read_pictures(written.data, limits) == list(span.pictures):
                    return written
            except _FAILURES:
                continue
    return None


def _read_pictures(data: bytes, limits: LimitsConfig) -> list[int]:
    with VideoFile(data, limits) as video:
        return [_checksum(frame) for frame in decode_shown_frames(video)]


def _check_encoded(file: WrittenShot, limits: LimitsConfig, span: Span) -> WrittenShot | str:
    """A file that was encoded anew, if it shows as many frames as the shot, and its colours; else what it shows."""
    shown, strange = 0, False
    try:
        with VideoFile(file.data, limits) as video:
            for shown, frame in enumerate(decode_shown_frames(video), start=1):
                look = span.looks.get(shown - 1)
                strange = strange or (look is not None and differ(look, shrink(frame)))
    except _FAILURES as error:
        return f"what was encoded does not decode: {error_text(error)}"
    if shown != len(span.stamps):
        return f"what was encoded shows {shown} of {len(span.stamps)} frames"
    return "what was encoded shows other colours than the shot" if strange else file
