"""Decoding: from the bytes of a clip to windows of uint8 frames, with the clip's metadata."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.clock import Clock, Stamp
from m3ray.video.decord_frames import DecordError, decode_with_decord, is_decord_right
from m3ray.video.image_formats import detect_image
from m3ray.video.images import decode_image
from m3ray.video.metadata import VideoMetadata
from m3ray.video.orientation import swaps_sides
from m3ray.video.packet_times import count_lost_packets
from m3ray.video.sampling import (
    UNFORESEEN_TIMES,
    Extent,
    FrameChooser,
    PictureBuffer,
    resize_into,
    sample_frames,
    timestamp_rounding,
)
from m3ray.video.shown_frames import Converter, UncertainDamageError, decode_shown_frames, display_matrix
from m3ray.video.video_file import VideoFile, read_stamp

_BUFFERED_WINDOWS = 4  # windows of pictures held until the end of a clip tells which of them are sampled
_MAX_LOST_SHARE = 0.05  # share of packets that may yield no picture

Window = tuple[VideoMetadata, np.ndarray]


def decode(
    data: bytes,
    config: DecodeConfig,
    limits: LimitsConfig,
    *,
    extent: Extent = "all",
    decoder: str = "pyav",
    threads: int = 1,
    pulse: Callable[[], None] = lambda: None,
) -> Iterator[Window]:
    """Decode the sampled frames of a clip, window after window; an image is a clip of one frame.

    Which frames are shown, and when, is known for sure only when all are decoded. A clip of up to four windows is
    therefore held whole; a longer one is decoded twice, for its times and then for its pictures, or, `in_one_pass`,
    once, at the positions that its packets foretell. Its last window then comes only once every frame was shown as
    foretold: windows that end are those of `all`.

    Args:
        data: bytes of the file.
        config: sampling rate, size of the frames and length of a window.
        limits: per-clip limits of pixels and seconds.
        extent: what of the clip is wanted. With `first_window` and `first_frame` the metadata are what its packets say.
        decoder: "pyav"; "decord", which serves where it is proven to give the same pictures; or "decord alone", which
            rejects the clip elsewhere.
        threads: threads of PyAV's decoder; they change no picture and no verdict.
        pulse: function that is called now and then while nothing is yielded.
    Yields:
        The metadata of the clip, and frames: uint8, (T, size, size, 3), RGB, 1 <= T <= window_frames.
    Raises:
        DecodeError: If it is not a video, has no video stream, is over a limit, truncated or damaged; and
            `unforeseen_times` in one pass, where the windows so far may be wrong and it is to be decoded anew as `all`.
    """
    image = detect_image(data)
    if image is not None:
        yield decode_image(data, image, config, limits)
        return
    served = False
    try:
        for window in _decode_with(data, config, limits, extent, decoder, threads, pulse):
            served = True
            yield window
        return
    except UncertainDamageError as error:
        if served and extent == "in_one_pass":
            raise _unforeseen_error("something does not decode") from error
        if served:  # what decoded in the pass before
            raise DecodeError("damaged", "it does not decode twice alike: copy or convert it again") from error
    yield from _decode_with(data, config, limits, extent, decoder, 1, pulse)


def _decode_with(
    data: bytes,
    config: DecodeConfig,
    limits: LimitsConfig,
    extent: Extent,
    decoder: str,
    threads: int,
    pulse: Callable[[], None],
) -> Iterator[Window]:
    with VideoFile(data, limits, threads) as video:
        served = False
        if decoder.startswith("decord") and is_decord_right(video):
            with suppress(DecordError):
                for window in decode_with_decord(video, config, extent):
                    served = True
                    yield window
                return
        if served:
            raise DecodeError("damaged", "decord fails in the middle of it: leave --compute.decoder as it is")
        if decoder == "decord alone":
            words = f"PyAV hangs on it, and decord is not proven right for {video.codec} in {video.container}"
            raise DecodeError("timed_out", f"{words}: convert it, or raise limits.decode-seconds")
        yield from _Decoding(video, config, pulse).windows(extent)


def _unforeseen_error(what: str) -> DecodeError:
    return DecodeError(UNFORESEEN_TIMES, f"{what}, unlike what its packets foretold: decode it with the extent 'all'")


class ShownTimes:
    """When frames are shown, as they are decoded: by the slots of an AVI, else by their own timestamps.

    Args:
        video: opened video that they are of.
    """

    def __init__(self, video: VideoFile) -> None:
        self.video, self.clock = video, video.clock()
        self.stamps: list[Stamp] = []
        self._listed = video.slot_stamps()

    def add(self, frame: Any) -> float:
        """Add the next frame.

        Args:
            frame: frame of PyAV's.
        Returns:
            When it is shown, seconds, as far as that is known before the end.
        """
        index = len(self.stamps)
        self.stamps.append(read_stamp(frame))
        return self.clock.show(self._listed[index] if index < len(self._listed) else self.stamps[-1])

    @property
    def fits(self) -> bool:
        """Whether each slot gave a picture."""
        return not self._listed or len(self.stamps) == len(self._listed)

    def end(self) -> Clock:
        """Conclude when each frame is shown.

        Returns:
            The clock of all frames.
        Raises:
            DecodeError: If too many packets gave none (`damaged`).
        """
        self._check_lost()
        if self.fits:
            return self.clock
        clock = self.video.clock()  # some packets gave no picture: the frames' own times are nearer
        for stamp in self.stamps:
            clock.show(stamp)
        return clock

    def _check_lost(self) -> None:
        table = self.video.scan.table
        stamps = np.asarray([np.nan if stamp.pts is None else stamp.pts for stamp in self.stamps], np.float64)
        lost, listed = count_lost_packets(table, stamps, may_stop=self.video.promises_nothing), sum(table.shown)
        if lost > _MAX_LOST_SHARE * listed:
            words = f"{listed - lost} of {listed} frames decode: the file is damaged, copy or convert it again"
            raise DecodeError("damaged", words)


@dataclass
class _Decoding:
    """One clip on its way from packets to windows."""

    video: VideoFile
    config: DecodeConfig
    pulse: Callable[[], None]
    converter: Converter = field(default_factory=Converter)
    swapped: bool = False

    def windows(self, extent: Extent) -> Iterator[Window]:
        predicted = self._positions(self.video.times, self.video.duration)
        if extent == "first_frame":
            yield self._first_frame(predicted)
        elif extent == "first_window":
            # The packets decide here; the few clips for which they are wrong are merely sampled a little differently.
            metadata = self._metadata(len(predicted))
            yield metadata, next(self._pick(predicted, decode_shown_frames(self.video)))
        elif extent == "in_one_pass" and len(predicted) > self._max_buffered:
            yield from self._one_pass(predicted)
        else:
            yield from self._all_windows(len(predicted))

    def _all_windows(self, predicted: int) -> Iterator[Window]:
        clock, pictures = self._first_pass(self._max_buffered if predicted <= self._max_buffered else 0)
        positions, metadata = self._conclude(clock)
        if pictures is None or not pictures.has_all(positions):  # useless times were spaced anew at the end
            for frames in self._pick(positions, decode_shown_frames(self.video)):
                yield metadata, frames
        else:
            for start in range(0, len(positions), self.config.window_frames):
                yield metadata, pictures.take(positions[start : start + self.config.window_frames])

    def _one_pass(self, predicted: np.ndarray) -> Iterator[Window]:
        """Windows at the positions that the packets foretell, the last one when all frames were shown as foretold."""
        times = ShownTimes(self.video)
        shown = self._watch(times)
        count, metadata = math.ceil(len(predicted) / self.config.window_frames), None
        for number, frames in enumerate(self._pick(predicted, shown), start=1):
            metadata = metadata or self._metadata(len(predicted))
            if number < count:
                yield metadata, frames
        deque(shown, maxlen=0)  # what comes after the last sampled frame may be damaged, or longer than foretold
        positions, found = self._conclude(times.end())
        if found != metadata or not np.array_equal(positions, predicted):
            raise _unforeseen_error(f"{found.frames} frames are shown for {found.duration:.3f} s")
        yield found, frames

    def _watch(self, times: ShownTimes) -> Iterator[Any]:
        """The frames, as long as each is shown when the packets foretell."""
        frame, foretold = None, self.video.times.tolist()
        for index, frame in enumerate(decode_shown_frames(self.video)):
            if index == 0:
                self.swapped = swaps_sides(display_matrix(frame))
            time = times.add(frame)
            if index == len(foretold) or time != foretold[index]:
                raise _unforeseen_error(f"frame {index} is shown at {time:.3f} s")
            yield frame
        if frame is not None:
            self.swapped = swaps_sides(display_matrix(frame))

    def _conclude(self, clock: Clock) -> tuple[np.ndarray, VideoMetadata]:
        """The sampled positions and the metadata of the clip, by the times of all its frames."""
        times, duration = self.video.timeline_of(clock)
        self.video.check_seconds(duration)
        positions = self._positions(times, duration)
        return positions, self._metadata(len(positions), times, duration)

    @property
    def _max_buffered(self) -> int:
        return _BUFFERED_WINDOWS * self.config.window_frames

    def _positions(self, times: np.ndarray, duration: float) -> np.ndarray:
        return sample_frames(times, duration, self.config.fps, timestamp_rounding(self.video.container))

    def _first_frame(self, predicted: np.ndarray) -> Window:
        """The one that sampling begins with: of frames that share their time, the last."""
        shown = itertools.islice(decode_shown_frames(self.video), int(predicted[0]) + 1)
        frame = next(iter(deque(shown, maxlen=1)), None)
        if frame is None:
            raise self._no_picture_error()
        self.swapped = swaps_sides(display_matrix(frame))
        return self._metadata(len(predicted)), self._convert(frame)[None]

    def _first_pass(self, max_pictures: int) -> tuple[Clock, PictureBuffer | None]:
        """Times of all frames, and the pictures that may be sampled: None where they are more than that."""
        times = ShownTimes(self.video)
        chooser = FrameChooser(self.config.fps, timestamp_rounding(self.video.container))
        pictures = PictureBuffer(self.config.window_frames, self.config.size) if max_pictures else None
        before = None
        for index, frame in enumerate(decode_shown_frames(self.video)):
            self._send_pulse(index)
            keep = chooser.add(times.add(frame))
            if pictures is not None and before is not None and keep:
                pictures.add(index - 1, self.converter.convert(before))
                pictures = pictures if len(pictures) <= max_pictures else None
            before = frame
        if before is None:
            raise self._no_picture_error()
        if pictures is not None:
            pictures.add(len(times.stamps) - 1, self.converter.convert(before))
        self.swapped = swaps_sides(display_matrix(before))
        return times.end(), pictures if times.fits else None

    def _pick(self, positions: np.ndarray, shown: Iterator[Any]) -> Iterator[np.ndarray]:
        """Windows of the frames at these positions as they are decoded, so that memory holds one of them."""
        width, slot = self.config.window_frames, 0
        last: np.ndarray | None = None
        out = self._empty_window(min(width, len(positions)))
        for index, frame in enumerate(shown):
            if slot == len(positions):
                return
            self._send_pulse(index)
            if positions[slot] > index:
                continue
            last = self._convert(frame)
            while slot < len(positions) and positions[slot] <= index:
                out[slot % width] = last
                slot += 1
                if slot % width == 0 or slot == len(positions):
                    yield out[: (slot - 1) % width + 1]
                    out = self._empty_window(min(width, len(positions) - slot))
        if last is None:
            raise self._no_picture_error()
        if slot < len(positions):  # fewer frames than predicted: the last one stays on the screen
            out[slot % width :] = last
            yield out

    def _send_pulse(self, index: int) -> None:
        """Call `pulse` once for each window's time of the video, as a caller that waits for windows would see one."""
        if index % max(1, round(self.config.window_frames * self.video.rate / self.config.fps)) == 0:
            self.pulse()

    def _convert(self, frame: Any) -> np.ndarray:
        picture = self._empty_window(1)[0]
        resize_into(self.converter.convert(frame), picture)
        return picture

    def _empty_window(self, frames: int) -> np.ndarray:
        return np.empty((frames, self.config.size, self.config.size, 3), np.uint8)

    def _metadata(self, sampled: int, times: np.ndarray | None = None, duration: float = 0.0) -> VideoMetadata:
        video = self.video
        if times is None:
            times, duration = video.times, video.duration
        width, height = video.stream.width, video.stream.height
        return VideoMetadata(
            width=height if self.swapped else width,
            height=width if self.swapped else height,
            native_fps=len(times) / duration if duration > 0 else video.rate,
            duration=duration,
            frames=len(times),
            sampled=sampled,
            video_bytes=video.scan.table.video_bytes,
            container=video.container,
            decoder="pyav",
        )

    def _no_picture_error(self) -> DecodeError:
        count = len(self.video.scan.table)
        return DecodeError("damaged", f"none of {count} packets gives a picture: the file is damaged, copy it again")
