"""Shots of a clip, found in every frame that it shows, which the decoding child hands on as it decodes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from m3ray.config import SlidingWindowConfig
from m3ray.errors import DecodeError
from m3ray.video.sampling import resize_to
from m3ray.video.sandbox import Decoder
from m3ray.video.shots.detectors import CutDetector, make_detector
from m3ray.video.shots.every_frame import BATCH, UNCERTAIN
from m3ray.video.shots.timeline import Shots, Timeline, lay_shots

_TIME_BYTES = 8
_MOST_TIMES = 64 << 20  # bytes: 8 million frames


def find_shots(decoder: Decoder, data: bytes, config: SlidingWindowConfig) -> Shots:
    """Find the shots of a clip; memory holds a few small frames at a time, and the time of each.

    Args:
        decoder: decodes in a child process.
        data: bytes of the file.
        config: which detector, its threshold, and how long a shot is at least.
    Returns:
        The shots.
    Raises:
        DecodeError: If the clip cannot be decoded.
        ConfigError, WeightsError: If the detector is not installed, or its weights are others.
    """
    threads = decoder.threads
    for _ in range(decoder.limits.crash_count):
        try:
            detector = make_detector(config)
            timeline = _show(decoder, data, detector, threads)
            return lay_shots(detector.end(timeline), timeline, decoder.config.fps, config.shortest)
        except DecodeError as error:
            if error.reason not in (UNCERTAIN, "decoder_crashed"):
                raise
            failure, threads = error, 1
    raise failure


def find_shots_of_frames(frames: np.ndarray, fps: float, config: SlidingWindowConfig) -> Shots:
    """Find the shots of frames that are in memory.

    Args:
        frames: RGB, uint8, (T, H, W, 3), T >= 1.
        fps: frames a second that they were sampled at.
        config: which detector, its threshold, and how long a shot is at least.
    Returns:
        The shots.
    """
    detector = make_detector(config)
    for start in range(0, len(frames), BATCH):
        shape = (detector.height, detector.width)
        detector.add(np.stack([resize_to(frame, *shape) for frame in frames[start : start + BATCH]]))
    timeline = Timeline.steady(len(frames), fps)
    return lay_shots(detector.end(timeline), timeline, fps, config.shortest)


def _show(decoder: Decoder, data: bytes, detector: CutDetector, threads: int) -> Timeline:
    """Show a detector every frame of a clip, and say when each is shown."""
    timeline, seen = None, 0
    for part in _iter_parts(decoder, data, detector.height, detector.width, threads):
        if isinstance(part, Timeline):
            timeline = part
        else:
            detector.add(part)
            seen += len(part)
    if timeline is None or len(timeline.times) != seen:
        raise DecodeError("decoder_error", f"the decoder answers with no times of its {seen} frames")
    return timeline


def _iter_parts(
    decoder: Decoder, data: bytes, height: int, width: int, threads: int
) -> Iterator[np.ndarray | Timeline]:
    most = max(_MOST_TIMES, BATCH * height * width * 3)
    for header, payload in decoder.ask(data, "every_frame", most, threads=threads, height=height, width=width):
        if "shape" not in header:
            yield Timeline(np.frombuffer(payload, np.float64), float(header["duration"]), float(header["rounding"]))
        elif header["shape"][1:] == [height, width, 3]:
            yield np.frombuffer(payload, np.uint8).reshape(header["shape"])
        else:
            raise DecodeError("decoder_error", f"the decoder answers with frames of shape {header['shape']}")
