"""Bytes in, uint8 frames and what is known of them out."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.clock import Clock, Stamp
from m3ray.video.decord_frames import DecordError, decord_windows, is_decord_right
from m3ray.video.orientation import swaps_sides
from m3ray.video.packet_times import count_lost
from m3ray.video.sampling import Extent, Facts, FrameChooser, HeldPictures, resize_into, rounding_of, sampled_frames
from m3ray.video.shown_frames import Converter, matrix_of, shown_frames
from m3ray.video.video_file import VideoFile, stamp_of

_HELD_WINDOWS = 4  # of pictures, until the end of a clip tells which of them are sampled
_TOLERATED = 0.05  # share of packets that may yield no picture

Window = tuple[Facts, np.ndarray]


def decode(
    data: bytes,
    config: DecodeConfig,
    limits: LimitsConfig,
    *,
    extent: Extent = "all",
    decoder: str = "pyav",
    pulse: Callable[[], None] = lambda: None,
) -> Iterator[Window]:
    """Consecutive windows of a clip's sampled frames.

    Which frames are shown, and when, is known for sure when all are decoded. A clip of up to four windows is
    therefore held whole; a longer one is decoded twice, for its times and then for its pictures.

    Args:
        data: the file.
        config: rate, size and window.
        limits: what the clip may cost.
        extent: what of the clip is wanted; with `one_window` a longer clip yields one window of no frame, and its facts
            are, as with `first_window` and `first_frame`, what its packets say.
        decoder: `pyav`; `decord`, which serves where it is proven to give the same pictures; or `decord alone`, which
            rejects the clip elsewhere.
        pulse: called now and then while nothing is yielded.
    Yields:
        (facts, frames): frames uint8, (T, size, size, 3), RGB, 1 <= T <= window_frames.
    Raises:
        DecodeError: not a video, no video stream, over a limit, cut short, damaged.
    """
    with VideoFile(data, limits) as video:
        served = False
        if decoder.startswith("decord") and is_decord_right(video):
            with suppress(DecordError):
                for window in decord_windows(video, config, extent):
                    served = True
                    yield window
                return
        if served:
            raise DecodeError("damaged", "decord fails in the middle of it: leave --compute.decoder as it is")
        if decoder == "decord alone":
            words = f"PyAV hangs on it, and decord is not proven right for {video.codec} in {video.container}"
            raise DecodeError("timed_out", f"{words}: convert it, or raise limits.decode-seconds")
        yield from _Decoding(video, config, pulse).windows(extent)


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
            # What the packets say decides; those few clips of which it isn't true are merely sampled otherwise here.
            yield next(self._second_pass(predicted, self._facts(len(predicted))))
        elif extent == "one_window" and len(predicted) > self.config.window_frames:
            yield self._facts(len(predicted)), self._empty(0)
        else:
            yield from self._all(extent, len(predicted))

    def _all(self, extent: Extent, predicted: int) -> Iterator[Window]:
        clock, held = self._first_pass(self._most_held if predicted <= self._most_held else 0)
        times, duration = self.video.timeline_of(clock)
        self.video.check_seconds(duration)
        positions = self._positions(times, duration)
        facts = self._facts(len(positions), times, duration)
        if extent == "one_window" and len(positions) > self.config.window_frames:
            yield facts, self._empty(0)
        elif held is None or not held.holds(positions):  # times without worth were spaced anew at the end
            yield from self._second_pass(positions, facts)
        else:
            for start in range(0, len(positions), self.config.window_frames):
                yield facts, held.take(positions[start : start + self.config.window_frames])

    @property
    def _most_held(self) -> int:
        return _HELD_WINDOWS * self.config.window_frames

    def _positions(self, times: np.ndarray, duration: float) -> np.ndarray:
        return sampled_frames(times, duration, self.config.fps, rounding_of(self.video.container))

    def _first_frame(self, predicted: np.ndarray) -> Window:
        """The one that sampling begins with: of frames that share their time, the last."""
        shown = itertools.islice(shown_frames(self.video), int(predicted[0]) + 1)
        frame = next(iter(deque(shown, maxlen=1)), None)
        if frame is None:
            raise self._nothing()
        self.swapped = swaps_sides(matrix_of(frame))
        return self._facts(len(predicted)), self._picture(frame)[None]

    def _first_pass(self, most: int) -> tuple[Clock, HeldPictures | None]:
        """Times of all frames, and the pictures that may be sampled: None where they are more than `most`."""
        clock = self.video.clock()
        chooser = FrameChooser(self.config.fps, rounding_of(self.video.container))
        held = HeldPictures(self.config.window_frames, self.config.size) if most else None
        listed, stamps, before = self.video.listed_stamps(), [], None
        for index, frame in enumerate(shown_frames(self.video)):
            self._beat(index)
            stamps.append(stamp_of(frame))
            keep = chooser.add(clock.show(listed[index] if index < len(listed) else stamps[-1]))
            if held is not None and before is not None and keep:
                held.add(index - 1, self.converter.convert(before))
                held = held if len(held) <= most else None
            before = frame
        if before is None:
            raise self._nothing()
        if listed and len(stamps) != len(listed):  # some packets gave no picture: the frames' own times are nearer
            clock, held = self._clock_of(stamps), None
        if held is not None:
            held.add(len(stamps) - 1, self.converter.convert(before))
        self.swapped = swaps_sides(matrix_of(before))
        self._check_lost(np.asarray([np.nan if stamp.pts is None else stamp.pts for stamp in stamps], np.float64))
        return clock, held

    def _clock_of(self, stamps: list[Stamp]) -> Clock:
        clock = self.video.clock()
        for stamp in stamps:
            clock.show(stamp)
        return clock

    def _check_lost(self, stamps: np.ndarray) -> None:
        table = self.video.scan.table
        lost, listed = count_lost(table, stamps, may_stop=self.video.promises_nothing), sum(table.shown)
        if lost > _TOLERATED * listed:
            words = f"{listed - lost} of {listed} frames decode: the file is damaged, copy or convert it again"
            raise DecodeError("damaged", words)

    def _second_pass(self, positions: np.ndarray, facts: Facts) -> Iterator[Window]:
        """Windows as their pictures are decoded, so that memory holds one of them."""
        width, slot = self.config.window_frames, 0
        last: np.ndarray | None = None
        out = self._empty(min(width, len(positions)))
        for index, frame in enumerate(shown_frames(self.video)):
            if slot == len(positions):
                return
            self._beat(index)
            if positions[slot] > index:
                continue
            last = self._picture(frame)
            while slot < len(positions) and positions[slot] <= index:
                out[slot % width] = last
                slot += 1
                if slot % width == 0 or slot == len(positions):
                    yield facts, out[: (slot - 1) % width + 1]
                    out = self._empty(min(width, len(positions) - slot))
        if last is None:
            raise self._nothing()
        if slot < len(positions):  # fewer frames than predicted: the last one stays on the screen
            out[slot % width :] = last
            yield facts, out

    def _beat(self, index: int) -> None:
        """A sign of life for each window's time of the video, as a caller that waits for windows would see one."""
        if index % max(1, round(self.config.window_frames * self.video.rate / self.config.fps)) == 0:
            self.pulse()

    def _picture(self, frame: Any) -> np.ndarray:
        picture = self._empty(1)[0]
        resize_into(self.converter.convert(frame), picture)
        return picture

    def _empty(self, frames: int) -> np.ndarray:
        return np.empty((frames, self.config.size, self.config.size, 3), np.uint8)

    def _facts(self, sampled: int, times: np.ndarray | None = None, duration: float = 0.0) -> Facts:
        video = self.video
        if times is None:
            times, duration = video.times, video.duration
        width, height = video.stream.width, video.stream.height
        return Facts(
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

    def _nothing(self) -> DecodeError:
        count = len(self.video.scan.table)
        return DecodeError("damaged", f"none of {count} packets gives a picture: the file is damaged, copy it again")
