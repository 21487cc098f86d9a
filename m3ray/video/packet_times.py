"""Times of frames by their packets, before any is decoded, and which packets then gave no picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from m3ray.video.clock import GLITCH_SECONDS, Stamp, median_gap

# A packet this small repeats the picture before it, or holds none: losing it loses nothing that can be seen.
TINY_BYTES = 16
LAST_PICTURES = 4  # pictures that a decoder still holds when a stream stops
_MAX_LEADING = 16  # pictures that any codec here holds back for others


class PacketTable:
    """The packets of a video stream, in decoding order.

    Args:
        time_base: time base of the stream, seconds.
    """

    def __init__(self, time_base: Fraction) -> None:
        self.tick = float(time_base)
        self.video_bytes = 0
        self.pts: list[float] = []
        self.dts: list[float] = []
        self.durations: list[int] = []
        self.sizes: list[int] = []
        self.keys: list[bool] = []
        self.corrupt: list[bool] = []
        self.shown: list[bool] = []

    def __len__(self) -> int:
        return len(self.sizes)

    def add(self, packet: Any, *, hidden: bool) -> None:
        """Add a packet.

        Args:
            packet: packet of PyAV's that is not empty.
            hidden: whether the codec says that its picture only serves others as a reference.
        """
        self.pts.append(np.nan if packet.pts is None else packet.pts)
        self.dts.append(np.nan if packet.dts is None else packet.dts)
        self.durations.append(packet.duration or 0)
        self.sizes.append(packet.size)
        self.keys.append(packet.is_keyframe)
        self.corrupt.append(packet.is_corrupt)
        self.shown.append(not hidden and not packet.is_discard)
        self.video_bytes += packet.size

    def reorders(self) -> bool:
        """Whether frames are shown in another order than they are decoded in."""
        pts = np.asarray(self.pts)
        return bool((np.diff(pts[~np.isnan(pts)]) < 0).any())


def predict_stamps(table: PacketTable, *, by_dts: bool) -> Iterator[Stamp]:
    """Predict the timestamps of the frames, if each packet that is not hidden or cut away gives one.

    Args:
        table: packets of the video stream.
        by_dts: whether the container has decoding times only, so that frames are shown in that order.
    Yields:
        The timestamps of each frame, in the order in which frames are shown.
    """
    shown = np.flatnonzero(table.shown) if any(table.shown) else np.arange(len(table))
    pts, dts = np.asarray(table.pts)[shown], np.asarray(table.dts)[shown]
    seams = np.flatnonzero(np.diff(dts) * table.tick < -GLITCH_SECONDS) + 1  # comparing with NaN is false
    for part in np.split(np.arange(len(shown)), seams):
        ordered = part if by_dts or np.isnan(pts[part]).any() else part[np.argsort(pts[part], kind="stable")]
        for k in ordered:
            yield Stamp(_ticks(pts[k]), _ticks(dts[k]) if by_dts else None, table.durations[shown[k]])


def _ticks(value: float) -> int | None:
    return None if np.isnan(value) else int(value)


def count_lost_packets(table: PacketTable, stamps: np.ndarray, *, may_stop: bool = False) -> int:
    """Count the packets that should have become pictures and did not, from the first keyframe on.

    Fields of one frame, hidden pictures and tiny packets lose nothing. Neither does what leads up to the first
    keyframe of a stream that begins in its middle, whether by decoding or by showing order; where times are of
    decoding order too, these are the packets right behind it.

    Args:
        table: packets of the video stream.
        stamps: timestamps of the frames that were shown, ticks, (N,), NaN where unknown.
        may_stop: whether the recording may have been stopped anywhere, so that its last pictures may lack what they
            refer to.
    Returns:
        Number of packets lost.
    """
    keys = np.asarray(table.keys)
    first = int(np.argmax(keys)) if keys.any() else 0
    counted = np.asarray(table.shown) & (np.asarray(table.sizes) > TINY_BYTES)
    counted[:first] = False
    counted[len(counted) - (LAST_PICTURES if may_stop else 0) :] = False
    pts = np.asarray(table.pts)
    if np.isnan(stamps).any() or np.isnan(pts[counted]).any():
        return max(0, int(counted.sum()) - len(stamps))
    counted &= pts >= pts[first]
    shown = np.isin(pts, stamps)
    leading = int(np.argmax(shown[first + 1 :])) if shown[first + 1 :].any() else 0
    counted[first + 1 : first + 1 + min(leading, _MAX_LEADING)] = False
    lost = np.unique(pts[counted & ~shown])
    return int(_in_holes(lost, np.sort(stamps)).sum()) if len(lost) else 0


def _in_holes(lost: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Which of `lost` lie where the pictures shown are further apart than they usually are."""
    usual = 1.5 * median_gap(stamps)
    edges = np.concatenate([[-np.inf], stamps, [np.inf]])
    after = np.searchsorted(edges, lost)
    return edges[after] - edges[after - 1] > usual
