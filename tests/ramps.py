"""Grey ramps: small clips of flat frames whose level is their number, and what a player shows of them and when.

They are written with PyAV, so that no program beside this package is needed, in any container and codec that it has.
What is shown is known by construction: from the times that were written and the packets that were left out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import av
import numpy as np

FIRST, STEP = 8, 4  # the level of frame 0, and from a frame to the next: more than twice what a codec here loses
MOST = (255 - FIRST) // STEP  # frames in a ramp
SECOND = Fraction(1)
ROUNDING = SECOND * 3 / 2000  # more than Matroska, FLV and ASF round, which count in milliseconds
_LOSSLESS = {"ffv1", "huffyuv", "utvideo", "png", "rawvideo", "gif", "qtrle", "cinepak", "prores_ks"}


@dataclass(frozen=True)
class Recipe:
    """How a ramp is written.

    Args:
        container: PyAV's name of the muxer.
        codec: of the encoder.
        pixels: the pixel format of its frames.
        b_frames: so many between two others.
        gop: frames from a key frame to the next.
        open_gop: whether frames that are shown before a key frame may need the frames before it.
        tick: the time base of the frames, seconds.
        size: width and height, pixels.
        encoder: further options of the encoder.
        muxer: options of the muxer.
    """

    container: str
    codec: str
    pixels: str = "yuv420p"
    b_frames: int = 0
    gop: int = 12
    open_gop: bool = False
    tick: Fraction = SECOND / 30
    size: tuple[int, int] = (64, 64)
    encoder: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ramp:
    """A file, and what a player shows of it: the numbers of the frames and the seconds that each lasts."""

    data: bytes
    frames: tuple[int, ...]
    durations: tuple[Fraction, ...]

    @property
    def seconds(self) -> Fraction:
        return sum(self.durations, Fraction(0))

    @property
    def starts(self) -> list[Fraction]:
        return list(accumulate(self.durations, initial=Fraction(0)))[:-1]

    def between(self, start: int, stop: int | None) -> Ramp:
        """The same file, of which only a part is shown."""
        return replace(self, frames=self.frames[start:stop], durations=self.durations[start:stop])


def sampled(ramp: Ramp, fps: int) -> list[set[int]]:
    """The frame shown at each k / fps; each frame once where none is shorter than 1 / fps.

    Where another frame begins so little later that a container's rounding may tell, either is right.
    """
    if min(ramp.durations) * fps >= 1:
        return [{frame} for frame in ramp.frames]
    due = [Fraction(k, fps) for k in range(int(-(-ramp.seconds * fps // 1)))]
    return [{shown_at(ramp, time), shown_at(ramp, time + ROUNDING)} for time in due]


def shown_at(ramp: Ramp, time: Fraction) -> int:
    return [frame for frame, start in zip(ramp.frames, ramp.starts, strict=True) if start <= time][-1]


def numbers_of(pictures: np.ndarray) -> np.ndarray:
    """The numbers that the levels of pictures (T, H, W, 3) stand for: whole ones, but for what the codec lost."""
    return (pictures.reshape(len(pictures), -1).mean(axis=1) - FIRST) / STEP


def write_ramp(recipe: Recipe, durations: Sequence[Fraction], first: int = 0) -> Ramp:
    """Frames `first`, `first + 1`, ... that last so long, in a file."""
    numbers = tuple(range(first, first + len(durations)))
    assert numbers[-1] < MOST, f"levels are for {MOST} frames"
    levels = [FIRST + STEP * number for number in numbers]
    return Ramp(write_levels(recipe, levels, durations), numbers, tuple(durations))


def write_levels(recipe: Recipe, levels: Iterable[float], durations: Sequence[Fraction]) -> bytes:
    """Flat grey frames of these levels that last so long, in a file."""
    width, height = recipe.size
    return write_pictures(recipe, [np.full((height, width, 3), level, np.uint8) for level in levels], durations)


def write_pictures(recipe: Recipe, pictures: Sequence[np.ndarray], durations: Sequence[Fraction]) -> bytes:
    """Pictures (H, W, 3) that last so long, in a file."""
    # A muxer that puts the index first opens its file a second time, by name.
    with tempfile.TemporaryDirectory() as folder, ordinary_scheduling():
        path = Path(folder) / "video"
        with av.open(str(path), mode="w", format=recipe.container, options=recipe.muxer) as file:
            _write(file, recipe, pictures, durations)
        return path.read_bytes()


@contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Undo what SVT-AV1 does to the thread that calls it as root: real-time priority, which starves all others."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def _write(file: Any, recipe: Recipe, pictures: Sequence[np.ndarray], durations: Sequence[Fraction]) -> None:
    rate = 30 if recipe.tick <= SECOND / 100 else 1 / recipe.tick  # as of one that does not know its times
    stream = file.add_stream(recipe.codec, rate=rate, options=_options(recipe))
    stream.width, stream.height = recipe.size
    stream.pix_fmt, stream.codec_context.time_base = recipe.pixels, recipe.tick
    starts = accumulate(durations, initial=Fraction(0))
    for picture, start, duration in zip(pictures, starts, durations, strict=False):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=recipe.pixels)
        frame.time_base, frame.pts, frame.duration = recipe.tick, _ticks(start, recipe), _ticks(duration, recipe)
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


def _ticks(seconds: Fraction, recipe: Recipe) -> int:
    ticks = seconds / recipe.tick
    assert ticks.denominator == 1, f"{seconds} s is no multiple of {recipe.tick} s"
    return int(ticks)


def _options(recipe: Recipe) -> dict[str, str]:
    """As good as the encoder can, and B-frames where they are wanted, not where the encoder thinks fit."""
    flags = "+frame_duration+qscale" + ("" if recipe.open_gop or recipe.codec == "mjpeg" else "+cgop")
    common = {"g": str(recipe.gop), "bf": str(recipe.b_frames), "flags": flags, "threads": "1"}
    return {**common, **_quality(recipe), **recipe.encoder}


def _quality(recipe: Recipe) -> dict[str, str]:
    gop, opened = recipe.gop, int(recipe.open_gop)
    if recipe.codec == "libx264":
        params = f"keyint={gop}:min-keyint=1:scenecut=0:b-adapt=0:open-gop={opened}"
        return {"qp": "4", "preset": "veryfast", "x264-params": params}
    if recipe.codec == "libx265":
        params = f"qp=4:keyint={gop}:min-keyint={gop}:scenecut=0:bframes={recipe.b_frames}:b-adapt=0:open-gop={opened}"
        return {"preset": "ultrafast", "x265-params": f"{params}:log-level=none"}
    if recipe.codec == "libsvtav1":
        return {"crf": "4", "preset": "11", "svtav1-params": "lp=1"}
    if recipe.codec.startswith("libvpx"):
        return {"crf": "4", "b": "4M" if recipe.codec == "libvpx" else "0", "qmin": "0", "qmax": "8", "cpu-used": "5"}
    if recipe.codec in _LOSSLESS:
        return {}
    return {"global_quality": str(2 * 118), "sc_threshold": "1000000000", "b_strategy": "0"}  # quantiser 2
