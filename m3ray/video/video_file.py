"""An opened video: which of its streams is the video, and what its packets say, nothing decoded yet."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.clock import Clock, Stamp
from m3ray.video.completeness import count_avi_entries, missing_bytes
from m3ray.video.containers import container_of
from m3ray.video.packet_times import PacketTable, predicted_stamps

# Packets are kept from the first reading for the second, so that a file is opened once; larger ones are read again.
_MOST_KEPT = 256 << 20
_PROMISE_TIME = ("matroska", "flv", "asf", "mxf")
_PROMISE_NOTHING = ("mpegts", "mpeg", "mpegvideo")
_MISSING_SECONDS = 0.25


@dataclass(frozen=True)
class Scan:
    """What the packets of a video stream say.

    Args:
        table: its packets, in decoding order.
        packets: themselves; None where they are too large to keep.
        end: when the last packet of any stream ends, seconds; None where no packet says.
    """

    table: PacketTable
    packets: tuple[Any, ...] | None
    end: float | None


class VideoFile:
    """Opens a file with the one demuxer that its content names, chooses the video stream and reads its packets.

    Args:
        data: the file.
        limits: what the clip may cost.
    Raises:
        DecodeError: not a video, no video stream, over a limit, cut short.
    """

    def __init__(self, data: bytes, limits: LimitsConfig) -> None:
        self.data, self.limits = data, limits
        self.container = container_of(data)
        self.file = self._open()
        try:
            # First of all: of a file that is cut short the streams may be missing that its end describes.
            _check_bytes(data, self.container)
            self.stream = choose_stream(self.file)
            self.rate = float(self.stream.average_rate or self.stream.guessed_rate or Fraction(25)) or 25.0
            self.check_pixels(self.stream.width, self.stream.height)
            self.scan = self._scan()
            self._check_whole()
            self.times, self.duration = self._predict()
            self.check_seconds(self.duration)
        except av.error.FFmpegError as error:
            self.file.close()
            raise self._unreadable(error) from error
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.file.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of it."""
        return str(self.stream.codec_context.codec.canonical_name)

    def track_end(self) -> float | None:
        """When an MP4's track of reordered frames ends by its header, seconds in the file's time; else None."""
        if self.container != "mov" or not self.scan.table.reorders():
            return None
        start, length = self.stream.start_time or 0, self.stream.duration or 0
        return float((start + length) * self.stream.time_base)

    def repeated_seconds(self) -> float:
        """How long an AVI lasts by its index, in which an empty entry repeats the picture before it; else 0."""
        entries = count_avi_entries(self.data, self.stream.index) if self.container == "avi" else 0
        return float(entries * self.stream.time_base)

    def packets(self) -> Iterator[tuple[Any, Any]]:
        """The video stream's packets in decoding order, then None for its end, each with the codec that decodes it.

        The first call hands out those that were read already, where they were kept; others read the file anew.
        """
        kept = self.scan.packets
        if kept is not None:
            self.scan = Scan(self.scan.table, None, self.scan.end)
            yield from ((packet, self.stream.codec_context) for packet in (*kept, None))
            return
        with self._open() as file:
            stream = file.streams[self.stream.index]
            _use_one_thread(stream)
            packets = (packet for packet in file.demux(stream) if packet.size)
            yield from ((packet, stream.codec_context) for packet in itertools.chain(packets, [None]))

    def check_pixels(self, width: int, height: int) -> None:
        """Raises DecodeError where a frame is larger than allowed."""
        if width * height > self.limits.max_pixels:
            words = f"{width}x{height} frames, limit {self.limits.max_pixels} pixels: raise limits.max-pixels"
            raise DecodeError("too_large", words)

    def _open(self) -> Any:
        # A demuxer may hand over to another, and that one open what the file names: none but this one is allowed.
        options = {"format_whitelist": self.container}
        if self.container == "gif":  # as players do: a delay of a hundredth or none is a tenth
            options |= {"min_delay": "2", "default_delay": "10"}
        try:
            return av.open(io.BytesIO(self.data), format=self.container, options=options, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DecodeError:
        missing = missing_bytes(self.data, self.container)
        if missing:
            return _truncated(missing)
        return DecodeError("unreadable", f"cannot be opened as {self.container}: {in_words(error)}", stage="demux")

    def _scan(self) -> Scan:
        chosen, table, packets, end = self.stream.index, PacketTable(self.stream.time_base), [], None
        hides = self.codec == "vp8"
        for packet in self.file.demux():
            # Empty ones are PyAV's sign of the end, or a dropped picture; a decoder takes each for the end.
            if packet.stream_index == chosen and packet.size:
                packets.append(packet)
                table.add(packet, hidden=hides and not memoryview(packet)[0] & 0x10)
            if packet.pts is not None and packet.time_base:
                end = max(end or 0.0, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if table.video_bytes > _MOST_KEPT:
                packets = []
        if not len(table):
            raise DecodeError("no_frames", "the video stream holds no packet", stage="demux")
        return Scan(table, tuple(packets) if table.video_bytes <= _MOST_KEPT else None, end)

    def _check_whole(self) -> None:
        """Raises DecodeError where the container promises data or time that the file does not hold."""
        missing = self._missing_samples() or self._missing_time()
        if missing:
            raise _truncated(missing)

    def _missing_samples(self) -> str | None:
        table = self.scan.table
        if self.container not in _PROMISE_NOTHING and table.corrupt[-1]:
            return "the last packet is cut"
        if self.container != "mov" or self.stream.frames <= len(table):
            return None
        there = self._samples_without_edits()
        return f"{there} of {self.stream.frames} frames are there" if there < self.stream.frames else None

    def _samples_without_edits(self) -> int:
        """Samples of an MP4 that can be read, those that an edit list leaves out among them."""
        options = {"format_whitelist": self.container, "ignore_editlist": "1"}
        with av.open(io.BytesIO(self.data), format=self.container, options=options, metadata_errors="replace") as file:
            return sum(1 for packet in file.demux(file.streams[self.stream.index]) if packet.size)

    def _missing_time(self) -> str | None:
        if self.container not in _PROMISE_TIME or not self.file.duration or self.scan.end is None:
            return None
        start = min(0.0, (self.file.start_time or 0) / av.time_base)
        promised, there = self.file.duration / av.time_base, self.scan.end - start
        short = promised - there > max(_MISSING_SECONDS, 3 / self.rate, 0.01 * promised)
        return f"{there:.1f} of {promised:.1f} s are there" if short else None

    def clock(self) -> Clock:
        """A clock for the stream's frames."""
        return Clock(self.stream.time_base, 1 / self.rate, self.container)

    @property
    def promises_nothing(self) -> bool:
        """Whether a recording in this container may stop anywhere."""
        return self.container in _PROMISE_NOTHING

    def listed_stamps(self) -> list[Stamp]:
        """Of an AVI the times of its slots, which frames take one after the other; elsewhere frames bring their own."""
        by_dts = self.clock().by_dts
        return list(predicted_stamps(self.scan.table, by_dts=True)) if by_dts else []

    def _predict(self) -> tuple[np.ndarray, float]:
        """When frames will be shown, by what the packets say: seconds since the first one, (N,), and the end."""
        clock = self.clock()
        for stamp in predicted_stamps(self.scan.table, by_dts=clock.by_dts):
            clock.show(stamp)
        return self.timeline_of(clock)

    def timeline_of(self, clock: Clock) -> tuple[np.ndarray, float]:
        """Seconds at which each frame of a clock is shown, (N,), and when the last one ends."""
        longest = max(self.scan.table.durations) * self.scan.table.tick
        times, end = clock.timeline(self.track_end(), longest)
        return times, max(end, self.repeated_seconds())

    def check_seconds(self, duration: float) -> None:
        """Raises DecodeError where a clip is longer than allowed."""
        most = self.limits.max_seconds
        if duration > most:
            raise DecodeError("too_long", f"{duration:.0f} s, limit {most:.0f} s: raise limits.max-seconds")


def _check_bytes(data: bytes, container: str) -> None:
    missing = missing_bytes(data, container)
    if missing:
        raise _truncated(missing)


def _truncated(missing: str) -> DecodeError:
    return DecodeError("truncated", f"{missing}: the file is cut short, copy it again", stage="demux")


def choose_stream(file: Any) -> Any:
    """The video stream that a player shows: the default one, else the first of the largest; no picture of an album.

    Raises:
        DecodeError: there is none, or nothing here decodes it.
    """
    videos = list(file.streams.video)
    moving = [stream for stream in videos if not stream.disposition & _picture_flags()]
    if not moving:
        what = "its only picture is a cover" if videos else "audio only?"
        raise DecodeError("no_video_stream", f"the file has no video stream ({what})", stage="demux")
    readable = [stream for stream in moving if stream.codec_context is not None]
    if not readable:
        raise DecodeError("unreadable", "its video is in a codec that nothing here decodes: convert it", stage="demux")
    marked = [stream for stream in readable if stream.disposition & av.stream.Disposition.default]
    chosen = max(marked or readable, key=lambda stream: stream.width * stream.height)
    _use_one_thread(chosen)
    return chosen


def _picture_flags() -> Any:
    flags = av.stream.Disposition
    return flags.attached_pic | flags.timed_thumbnails | flags.still_image


def _use_one_thread(stream: Any) -> None:
    """One core a decoding task: Ray lays out the tasks."""
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1


def stamp_of(item: Any) -> Stamp:
    """The timestamps of a packet or frame of PyAV's."""
    return Stamp(item.pts, item.dts, item.duration or 0)


def in_words(error: Exception) -> str:
    """The message of a library's error."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
