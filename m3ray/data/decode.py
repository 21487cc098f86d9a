"""Bytes in, uint8 frames and facts out. decord first, PyAV where decord has no wheel or fails.

The only place that imports `av` and `decord`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.data.containers import container_of
from m3ray.data.sampling import Facts, resized, sampled_frames
from m3ray.errors import DecodeError

_AUDIO_RATE = 16_000
_CHUNK = 16  # native frames that decord holds at once
_TOLERATED = 0.05  # share of listed frames that may yield no picture (edit lists, a cut last group of pictures)


@dataclass(frozen=True)
class Probe:
    """What the packets of a video say, nothing decoded yet."""

    facts: Facts
    positions: np.ndarray
    stream: int
    times: np.ndarray
    rotation: int


def decode(
    data: bytes, config: DecodeConfig, limits: LimitsConfig, *, first_frame_only: bool = False
) -> Iterator[tuple[Facts, np.ndarray]]:
    """Consecutive windows of a clip's sampled frames.

    Args:
        data: the file.
        config: rate, size and window.
        limits: what the clip may cost.
        first_frame_only: one window of one frame.
    Yields:
        (facts, frames): frames uint8, (T, size, size, 3), RGB, 1 <= T <= window_frames.
    Raises:
        DecodeError: not a video, no video stream, over a limit, damaged.
    """
    probed = probe(data, config, limits)
    positions = probed.positions[:1] if first_frame_only else probed.positions
    windows = [positions[k : k + config.window_frames] for k in range(0, len(positions), config.window_frames)]
    done = 0
    try:
        for frames in _decord_windows(data, probed, windows, config.size):
            yield probed.facts.decoded_by("decord"), frames
            done += 1
    except _DecordError:
        for frames in _pyav_windows(data, probed, windows[done:], config.size):
            yield probed.facts.decoded_by("pyav"), frames


def probe(data: bytes, config: DecodeConfig, limits: LimitsConfig) -> Probe:
    """Reads the packets of the video stream: rate, duration, bytes and which frames to take.

    Raises:
        DecodeError: not a video, no video stream, over a limit, truncated.
    """
    container = container_of(data)
    try:
        with _opened(data, container) as file:
            stream = file.streams.best("video")
            if stream is None:
                raise DecodeError("no_video_stream", "the file has no video stream (audio only?)", stage="demux")
            return _probe_stream(data, file, stream, container, config, limits)
    except (av.error.FFmpegError, ValueError) as error:
        raise DecodeError("unreadable", f"cannot be opened as {container}: {_words(error)}", stage="demux") from error


def _opened(data: bytes, container: str) -> Any:
    """The one demuxer that the content named, and none that it would hand over to: a list can open other files."""
    return av.open(io.BytesIO(data), format=container, options={"format_whitelist": container})


def _probe_stream(
    data: bytes, file: Any, stream: Any, container: str, config: DecodeConfig, limits: LimitsConfig
) -> Probe:
    if stream.width * stream.height > limits.max_pixels:
        raise DecodeError("too_large", f"{stream.width}x{stream.height} frames, limit {limits.max_pixels} pixels")
    packets = [p for p in file.demux(stream) if p.size]
    if not packets:
        raise DecodeError("no_frames", "the video stream holds no packet", stage="demux")
    if stream.frames > len(packets):
        raise DecodeError("truncated", f"{len(packets)} of {stream.frames} frames are there: the file is cut short")
    times, duration = _timeline(packets, stream)
    if duration > limits.max_seconds:
        raise DecodeError("too_long", f"{duration:.0f} s, limit {limits.max_seconds:.0f} s: raise limits.max-seconds")
    positions = sampled_frames(times, duration, config.fps)
    rotation = _rotation(data, container, stream.index)
    width, height = (stream.width, stream.height) if rotation % 180 == 0 else (stream.height, stream.width)
    facts = Facts(
        width=width,
        height=height,
        native_fps=len(times) / duration,
        duration=duration,
        frames=len(times),
        sampled=len(positions),
        video_bytes=sum(p.size for p in packets),
        container=container,
    )
    return Probe(facts, positions, stream.index, times, rotation)


def _timeline(packets: list[Any], stream: Any) -> tuple[np.ndarray, float]:
    """Presentation times in seconds, ascending, and the duration to the end of the last frame."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    stamps = [p.pts if p.pts is not None else p.dts for p in packets]
    if any(stamp is None for stamp in stamps):  # raw MPEG streams carry no timestamps: evenly spaced
        return np.arange(len(packets)) / float(rate), len(packets) / float(rate)
    times = np.sort(np.asarray(stamps, dtype=np.float64)) * float(stream.time_base)
    last = max((p.duration or 0) for p in packets) * float(stream.time_base) or 1 / float(rate)
    return times, float(times[-1] - times[0] + last)


def _rotation(data: bytes, container: str, stream: int) -> int:
    """Degrees, counter-clockwise, that the display matrix of the first frame asks for; 0 where nothing decodes."""
    try:
        with _opened(data, container) as file:
            return int(next(file.decode(file.streams[stream])).rotation)
    except (av.error.FFmpegError, StopIteration):
        return 0


class _DecordError(Exception):
    """decord cannot serve this clip, or not further: PyAV takes over."""


def _decord_windows(data: bytes, probed: Probe, windows: list[np.ndarray], size: int) -> Iterator[np.ndarray]:
    # It ignores rotation and chooses among several streams by itself: then it would show another picture.
    if probed.rotation:
        raise _DecordError
    try:
        # Imported here: beside torch in one process its old native libraries were seen to hang, so only the
        # decoding child, which has no torch, ever loads it.
        import decord
    except ImportError as error:  # no wheel for this platform
        raise _DecordError from error
    try:
        reader = decord.VideoReader(io.BytesIO(data), num_threads=1)
        height, width = reader[0].shape[:2]
        if (len(reader), width, height) != (len(probed.times), probed.facts.width, probed.facts.height):
            raise _DecordError
        for window in windows:
            yield _decord_window(reader, window, size)
    except GeneratorExit:
        raise
    except Exception as error:  # decord raises types of its own, some of them straight from C++
        raise _DecordError from error


def _decord_window(reader: Any, positions: np.ndarray, size: int) -> np.ndarray:
    out = np.empty((len(positions), size, size, 3), np.uint8)
    for start in range(0, len(positions), _CHUNK):
        batch = reader.get_batch(positions[start : start + _CHUNK].tolist()).asnumpy()
        for offset, frame in enumerate(batch):
            out[start + offset] = resized(frame, size)
    return out


def _pyav_windows(data: bytes, probed: Probe, windows: list[np.ndarray], size: int) -> Iterator[np.ndarray]:
    frames = _pyav_frames(data, probed)
    listed = len(probed.times)
    position, shown = -1, None
    try:
        for window in windows:
            out = np.empty((len(window), size, size, 3), np.uint8)
            for slot, wanted in enumerate(window):
                while position < wanted:
                    following = next(frames, None)
                    if following is None:
                        break
                    position, shown = following
                if shown is None or position < wanted - _TOLERATED * listed:
                    raise DecodeError("damaged", f"{position + 1} of {listed} frames decode: the file is damaged")
                out[slot] = resized(_upright(shown, probed.rotation), size)
            yield out
    except av.error.FFmpegError as error:
        raise DecodeError("damaged", f"frame {position + 1} of {listed} does not decode: {_words(error)}") from error


def _pyav_frames(data: bytes, probed: Probe) -> Iterator[tuple[int, Any]]:
    with _opened(data, probed.facts.container) as file:
        stream = file.streams[probed.stream]
        stream.thread_type = "NONE"  # one core a decoding task
        for position, frame in enumerate(file.decode(stream)):
            if frame.is_corrupt:
                raise DecodeError("damaged", f"frame {position} of {len(probed.times)} is corrupt")
            yield position, frame


def _upright(frame: Any, rotation: int) -> np.ndarray:
    return np.rot90(frame.to_ndarray(format="rgb24"), k=round(rotation / 90) % 4)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def encode_clip(frames: np.ndarray, fps: int, audio_hz: float | None = None) -> bytes:
    """An H.264 .mp4 of `frames`, for the demo and the tests.

    Args:
        frames: uint8, (T, H, W, 3), H and W even.
        fps: frames a second.
        audio_hz: pitch of a sine wave to accompany it; None: no audio stream.
    """
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as file:
        video = file.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "20", "threads": "1"})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        # The header is written with the first packet and must know every stream by then.
        audio = file.add_stream("aac", rate=_AUDIO_RATE, layout="mono") if audio_hz is not None else None
        for frame in frames:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(video.encode())
        if audio is not None and audio_hz is not None:
            _add_sine(file, audio, audio_hz, len(frames) / fps)
    return buffer.getvalue()


def _add_sine(file: Any, stream: Any, pitch: float, seconds: float) -> None:
    wave = 0.2 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * _AUDIO_RATE)) / _AUDIO_RATE)
    for start in range(0, len(wave), 1024):
        sound = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.float32), "fltp", "mono")
        sound.sample_rate, sound.time_base, sound.pts = _AUDIO_RATE, Fraction(1, _AUDIO_RATE), start
        file.mux(stream.encode(sound))
    file.mux(stream.encode())
