"""What packets say of the frames in them, before any is decoded: when they are shown, and which then were not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from m3ray.data.clock import median_gap

_SEAM_SECONDS = 0.5
# A packet this small repeats the picture before it, or holds none: losing it loses nothing that can be seen.
TINY_BYTES = 16


class PacketTable:
    """The packets of a video stream, in decoding order.

    Args:
        time_base: seconds a tick.
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
        """Notes a packet of PyAV's.

        Args:
            packet: one that is not empty.
            hidden: the codec says that it is only there for others to refer to.
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
        """Whether the order of showing is another than that of decoding."""
        pts = np.asarray(self.pts)
        return bool((np.diff(pts[~np.isnan(pts)]) < 0).any())


def predict_timeline(table: PacketTable, period: float, container: str) -> tuple[np.ndarray, float]:
    """When frames will be shown if each packet that is not hidden or cut away by an edit list gives one.

    Args:
        table: of the video stream.
        period: seconds that a frame lasts where nothing else is known.
        container: FFmpeg's name of it.
    Returns:
        Seconds since the first frame, (N,) ascending; and when the last frame ends.
    """
    shown = np.asarray(table.shown)
    if not shown.any():
        shown = np.ones(len(table), bool)
    pts, dts = np.asarray(table.pts)[shown] * table.tick, np.asarray(table.dts)[shown] * table.tick
    stamps = dts if container == "avi" else np.where(np.isnan(pts), dts, pts)
    if np.isnan(stamps).any():  # raw MPEG streams carry no timestamps: evenly spaced
        return np.arange(len(stamps)) * period, len(stamps) * period
    own = float(np.max(np.asarray(table.durations)[shown])) * table.tick
    seams = np.flatnonzero(np.diff(dts) < -_SEAM_SECONDS) + 1  # comparing with NaN is false
    parts, end = [], 0.0
    for part in np.split(stamps, seams):
        times = np.sort(part) - part.min()
        parts.append(end + times)
        end += float(times[-1]) + (median_gap(times) or own or period)
    return np.concatenate(parts), end


def count_lost(table: PacketTable, stamps: np.ndarray) -> int:
    """Packets that should have become pictures and did not, from the first one on that needs none before it.

    Fields of one frame, hidden pictures and tiny packets lose nothing. Neither does what leads up to the first
    keyframe of a stream that begins in its middle, whether by decoding or by showing order.

    Args:
        table: of the video stream.
        stamps: timestamps of the frames that were shown, ticks, (N,), NaN where unknown.
    """
    keys = np.asarray(table.keys)
    first = int(np.argmax(keys)) if keys.any() else 0
    counted = np.asarray(table.shown) & (np.asarray(table.sizes) > TINY_BYTES)
    counted[:first] = False
    pts = np.asarray(table.pts)
    if np.isnan(stamps).any() or np.isnan(pts[counted]).any():
        return max(0, int(counted.sum()) - len(stamps))
    wanted = pts[counted & (pts >= pts[first])]
    lost = np.setdiff1d(wanted, stamps)
    return int(_in_holes(lost, np.sort(stamps)).sum()) if len(lost) else 0


def _in_holes(lost: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Which of `lost` lie where the pictures shown leave out more than the beat of the others."""
    usual = 1.5 * median_gap(stamps)
    edges = np.concatenate([[-np.inf], stamps, [np.inf]])
    after = np.searchsorted(edges, lost)
    return edges[after] - edges[after - 1] > usual
