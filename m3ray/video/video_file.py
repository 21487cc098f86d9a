"""An opened video file: its video stream and what the packets say, before anything is decoded."""

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
from m3ray.video.completeness import count_avi_entries, describe_missing_bytes
from m3ray.video.containers import detect_container
from m3ray.video.packet_times import PacketTable, predict_stamps

# Packets are kept from the first pass for the second, so that a file is opened once; larger files are read again.
_MAX_KEPT_BYTES = 256 << 20
_STATE_DURATION = ("matroska", "flv", "asf", "mxf")
_STATE_NOTHING = ("mpegts", "mpeg", "mpegvideo")
_TOLERATED_SECONDS = 0.25


@dataclass(frozen=True)
class Scan:
    """Result of reading the packets of a video stream.

    Args:
        table: times and sizes of the packets, in decoding order.
        packets: the packets themselves; None where they are too large to keep, or were handed out.
        end: when the last packet of any stream ends, seconds; None where no packet says.
    """

    table: PacketTable
    packets: tuple[Any, ...] | None
    end: float | None


class VideoFile:
    """A video opened with the one demuxer that its content names, its packets read.

    Args:
        data: bytes of the file.
        limits: per-clip limits of pixels and seconds.
        threads: threads that decode it.
    Raises:
        DecodeError: If it is not a video, has no video stream, is over a limit, or is truncated.
    """

    def __init__(self, data: bytes, limits: LimitsConfig, threads: int = 1) -> None:
        self.data, self.limits, self.threads = data, limits, threads
        self.container = detect_container(data)
        self.file = self._open()
        try:
            # Checked first: of a truncated file, the streams that its end describes may be missing.
            _check_bytes(data, self.container)
            self.stream = choose_stream(self.file)
            _use_threads(self.stream, threads)
            self.rate = float(self.stream.average_rate or self.stream.guessed_rate or Fraction(25)) or 25.0
            self.check_pixels(self.stream.width, self.stream.height)
            self.scan = self._scan_packets()
            self._check_complete()
            self.times, self.duration = self._predict_times()
            self.check_seconds(self.duration)
        except av.error.FFmpegError as error:
            self.file.close()
            raise self._unreadable_error(error) from error
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.file.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return str(self.stream.codec_context.codec.canonical_name)

    def track_end(self) -> float | None:
        """End of an MP4's track of reordered frames by its header, seconds in the file's time; None elsewhere."""
        if self.container != "mov" or not self.scan.table.reorders():
            return None
        start, length = self.stream.start_time or 0, self.stream.duration or 0
        return float((start + length) * self.stream.time_base)

    def index_seconds(self) -> float:
        """Length of an AVI by its index, where an empty entry repeats the picture before it, seconds; else 0."""
        entries = count_avi_entries(self.data, self.stream.index) if self.container == "avi" else 0
        return float(entries * self.stream.time_base)

    def packets(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over the video stream's packets in decoding order.

        The first call hands out those that were read already, where they were kept; others read the file anew.

        Yields:
            Each packet, and None for the end, with the codec that decodes it.
        """
        kept = self.scan.packets
        if kept is not None:
            self.scan = Scan(self.scan.table, None, self.scan.end)
            yield from ((packet, self.stream.codec_context) for packet in (*kept, None))
            return
        with self._open() as file:
            stream = file.streams[self.stream.index]
            _use_threads(stream, self.threads)
            packets = (packet for packet in file.demux(stream) if packet.size)
            yield from ((packet, stream.codec_context) for packet in itertools.chain(packets, [None]))

    def reopen(self) -> Any:
        """Open the file once more, with the same demuxer alone.

        Returns:
            The container, opened with PyAV; the caller closes it.
        """
        return self._open()

    def check_pixels(self, width: int, height: int) -> None:
        """Check the size of a frame.

        Args:
            width: width of the frame, pixels.
            height: height of the frame, pixels.
        Raises:
            DecodeError: If it has more pixels than the limit allows.
        """
        if width * height > self.limits.max_pixels:
            words = f"{width}x{height} frames, limit {self.limits.max_pixels} pixels: raise limits.max-pixels"
            raise DecodeError("too_large", words)

    def _open(self) -> Any:
        # A demuxer may hand over to another one, which may open what the file names: only this one is allowed.
        options = {"format_whitelist": self.container}
        if self.container == "gif":  # as players do, a delay of a hundredth of a second or less becomes a tenth
            options |= {"min_delay": "2", "default_delay": "10"}
        try:
            return av.open(io.BytesIO(self.data), format=self.container, options=options, metadata_errors="replace")
        except (av.error.FFmpegError, ValueError) as error:
            raise self._unreadable_error(error) from error

    def _unreadable_error(self, error: Exception) -> DecodeError:
        missing = describe_missing_bytes(self.data, self.container)
        if missing:
            return _truncation_error(missing)
        return DecodeError("unreadable", f"cannot be opened as {self.container}: {error_text(error)}", stage="demux")

    def _scan_packets(self) -> Scan:
        chosen, table, packets, end = self.stream.index, PacketTable(self.stream.time_base), [], None
        hides = self.codec == "vp8"
        for packet in self.file.demux():
            # An empty packet is PyAV's sign of the end, or a dropped picture; a decoder takes either for the end.
            if packet.stream_index == chosen and packet.size:
                packets.append(packet)
                table.add(packet, hidden=hides and not memoryview(packet)[0] & 0x10)
            if packet.pts is not None and packet.time_base:
                end = max(end or 0.0, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if table.video_bytes > _MAX_KEPT_BYTES:
                packets = []
        if not len(table):
            raise DecodeError("no_frames", "the video stream holds no packet", stage="demux")
        return Scan(table, tuple(packets) if table.video_bytes <= _MAX_KEPT_BYTES else None, end)

    def _check_complete(self) -> None:
        """DecodeError where the container promises data or time that the file does not hold."""
        missing = self._find_missing_samples() or self._find_missing_time()
        if missing:
            raise _truncation_error(missing)

    def _find_missing_samples(self) -> str | None:
        table = self.scan.table
        if self.container not in _STATE_NOTHING and table.corrupt[-1]:
            return "the last packet is cut"
        if self.container != "mov" or self.stream.frames <= len(table):
            return None
        readable = self._count_samples()
        return f"{readable} of {self.stream.frames} frames are there" if readable < self.stream.frames else None

    def _count_samples(self) -> int:
        """Number of samples of an MP4 that can be read, those that an edit list leaves out among them."""
        options = {"format_whitelist": self.container, "ignore_editlist": "1"}
        with av.open(io.BytesIO(self.data), format=self.container, options=options, metadata_errors="replace") as file:
            return sum(1 for packet in file.demux(file.streams[self.stream.index]) if packet.size)

    def _find_missing_time(self) -> str | None:
        if self.container not in _STATE_DURATION or not self.file.duration or self.scan.end is None:
            return None
        start = min(0.0, (self.file.start_time or 0) / av.time_base)
        promised, present = self.file.duration / av.time_base, self.scan.end - start
        is_short = promised - present > max(_TOLERATED_SECONDS, 3 / self.rate, 0.01 * promised)
        return f"{present:.1f} of {promised:.1f} s are there" if is_short else None

    def clock(self) -> Clock:
        """A new clock for the stream's frames."""
        return Clock(self.stream.time_base, 1 / self.rate, self.container)

    @property
    def promises_nothing(self) -> bool:
        """Whether a recording in this container may stop anywhere, as nothing in it states its length."""
        return self.container in _STATE_NOTHING

    def slot_stamps(self) -> list[Stamp]:
        """Timestamps of an AVI's slots, which frames take one after the other; none for other containers."""
        by_dts = self.clock().by_dts
        return list(predict_stamps(self.scan.table, by_dts=True)) if by_dts else []

    def _predict_times(self) -> tuple[np.ndarray, float]:
        """When frames will be shown by what the packets say: seconds since the first one, (N,), and the end."""
        clock = self.clock()
        for stamp in predict_stamps(self.scan.table, by_dts=clock.by_dts):
            clock.show(stamp)
        return self.timeline_of(clock)

    def timeline_of(self, clock: Clock) -> tuple[np.ndarray, float]:
        """Lay out when each frame of a clock is shown, with what the file says of its end.

        Args:
            clock: clock that all frames were added to.
        Returns:
            Seconds at which each frame is shown, (N,), and when the last one ends.
        """
        longest = max(self.scan.table.durations) * self.scan.table.tick
        times, end = clock.timeline(self.track_end(), longest)
        return times, max(end, self.index_seconds())

    def check_seconds(self, duration: float) -> None:
        """Check the length of the clip.

        Args:
            duration: length of the clip, seconds.
        Raises:
            DecodeError: If it is longer than the limit allows.
        """
        longest = self.limits.max_seconds
        if duration > longest:
            raise DecodeError("too_long", f"{duration:.0f} s, limit {longest:.0f} s: raise limits.max-seconds")


def _check_bytes(data: bytes, container: str) -> None:
    missing = describe_missing_bytes(data, container)
    if missing:
        raise _truncation_error(missing)


def _truncation_error(missing: str) -> DecodeError:
    return DecodeError("truncated", f"{missing}: the file is cut short, copy it again", stage="demux")


def choose_stream(file: Any) -> Any:
    """Choose the video stream that a player shows: the default one, else the first of the largest.

    Args:
        file: container opened with PyAV; pictures of an album in it do not count.
    Returns:
        The stream.
    Raises:
        DecodeError: If there is none, or nothing here decodes it.
    """
    videos = list(file.streams.video)
    videos_shown = [stream for stream in videos if not stream.disposition & _picture_flags()]
    if not videos_shown:
        what = "its only picture is a cover" if videos else "audio only?"
        raise DecodeError("no_video_stream", f"the file has no video stream ({what})", stage="demux")
    readable = [stream for stream in videos_shown if stream.codec_context is not None]
    if not readable:
        raise DecodeError("unreadable", "its video is in a codec that nothing here decodes: convert it", stage="demux")
    marked = [stream for stream in readable if stream.disposition & av.stream.Disposition.default]
    return max(marked or readable, key=lambda stream: stream.width * stream.height)


def _picture_flags() -> Any:
    flags = av.stream.Disposition
    return flags.attached_pic | flags.timed_thumbnails | flags.still_image


def _use_threads(stream: Any, count: int) -> None:
    """One thread, as Ray gives a decoding task one core, but where a node has cores to spare."""
    stream.thread_type = "NONE" if count == 1 else "AUTO"
    stream.codec_context.thread_count = count


def read_stamp(item: Any) -> Stamp:
    """Read the timestamps of a packet or frame.

    Args:
        item: packet or frame of PyAV's.
    Returns:
        Its timestamps, in ticks of the stream's time base.
    """
    return Stamp(item.pts, item.dts, item.duration or 0)


def error_text(error: Exception) -> str:
    """Make a message of a library's error.

    Args:
        error: error that a library raised.
    Returns:
        Its own words, or the name of its type if it has none.
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
