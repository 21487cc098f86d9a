"""A clip as its map needs it: the tiers' numbers unit by unit, the frames they looked at, small pictures, its times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import cv2
import numpy as np

from m3ray.scoring.explanations.frame_store import FrameStore
from m3ray.scoring.explanations.units import Unit, lay_units
from m3ray.scoring.frames import DecodedWindows
from m3ray.tiers.base import Tier, Window, WindowFeatures, average_windows, check_finite, iter_clip_windows
from m3ray.video.metadata import VideoMetadata
from m3ray.video.sliding_windows import sampling_rate

_PICTURES = 64  # kept at most for drawing
_SIDE = 400  # of these, the longer one, pixels


@dataclass(frozen=True)
class Pictures:
    """Small pictures of a clip, for drawing.

    Args:
        frames: RGB, uint8, (P, h, w, 3), in the proportions that the clip is shown in.
        positions: which of the sampled frames they are, (P,).
    """

    frames: np.ndarray
    positions: np.ndarray


class PictureTaker:
    """Keeps evenly spaced pictures of a clip of any length, at most 64.

    Args:
        metadata: metadata of the clip.
    """

    def __init__(self, metadata: VideoMetadata) -> None:
        scale = _SIDE / max(metadata.width, metadata.height, 1)
        self._size = tuple(max(16, 2 * round(side * scale / 2)) for side in (metadata.width, metadata.height))
        self._step, self._frames, self._positions = 1, list[np.ndarray](), list[int]()

    def add(self, position: int, frame: np.ndarray) -> None:
        """Keep a frame, if it is its turn.

        Args:
            position: its position in the clip.
            frame: RGB, uint8, (H, W, 3).
        """
        if position % self._step:
            return
        self._frames.append(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA))
        self._positions.append(position)
        if len(self._frames) > _PICTURES:
            self._step *= 2
            self._frames, self._positions = self._frames[::2], self._positions[::2]

    def finish(self) -> Pictures:
        """Give the pictures."""
        return Pictures(np.stack(self._frames), np.array(self._positions))


@dataclass
class ClipView:
    """A clip that was decoded and computed once.

    Args:
        metadata: metadata of the clip.
        frames: number of its sampled frames.
        rate: sampled frames a second.
        units: units of each tier.
        found: the tier's numbers of each unit.
        store: frames that some tier looks at.
        pictures: small pictures.
    """

    metadata: VideoMetadata
    frames: int
    rate: float
    units: Mapping[str, Sequence[Unit]]
    found: Mapping[str, Sequence[WindowFeatures]]
    store: FrameStore
    pictures: Pictures
    seen: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        positions = {k for units in self.units.values() for unit in units for k in range(unit.first, unit.stop)}
        self.seen = np.array(sorted(positions), np.int64)

    @property
    def values(self) -> dict[str, dict[str, np.ndarray]]:
        """Columns of each tier, as they are without a change."""
        return {name: average_windows(found) for name, found in self.found.items()}

    @property
    def sees_every_frame(self) -> bool:
        """Whether each sampled frame is looked at."""
        return len(self.seen) == self.frames

    @property
    def is_image(self) -> bool:
        """Whether there is one frame, and so no time."""
        return self.frames == 1


def view_clip(decoded: DecodedWindows, tiers: Sequence[Tier], fps: float, store: FrameStore) -> ClipView:
    """Decode a clip and compute its tiers, unit by unit.

    Args:
        decoded: metadata and frames of each window.
        tiers: tiers that the bundle needs, set up.
        fps: sampling rate that was asked for, frames a second.
        store: where the frames go.
    Returns:
        The clip.
    Raises:
        DecodeError: If it cannot be decoded.
        FeatureError: If a value is not finite.
    """
    units: dict[str, list[Unit]] = {tier.name: [] for tier in tiers}
    found: dict[str, list[WindowFeatures]] = {tier.name: [] for tier in tiers}
    offset, pictures = 0, None
    for metadata, window in iter_clip_windows(decoded):
        pictures = pictures or PictureTaker(metadata)
        wanted: set[int] = set()
        for tier in tiers:
            own = lay_units(tier, window, offset)
            units[tier.name] += own
            found[tier.name] += tier.compute([take_unit(unit, window, offset) for unit in own]) if own else []
            wanted |= {position for unit in own for position in range(unit.start, unit.stop)}
        for position, frame in zip(count(offset), window.frames, strict=False):
            pictures.add(position, frame)
            if position in wanted:
                store.add(position, frame)
        offset += len(window.frames)
    assert pictures is not None, "a decoder yields a window, or raises"
    view = ClipView(metadata, offset, _read_rate(metadata, fps), units, found, store, pictures.finish())
    for name, columns in view.values.items():
        check_finite(columns, name)
    return view


def take_unit(unit: Unit, window: Window, offset: int) -> Window:
    """Take a unit's frames from a decoded window.

    Args:
        unit: the unit.
        window: the window that holds it.
        offset: position of its first frame in the clip.
    Returns:
        What the tier is given.
    """
    frames = window.frames[unit.start - offset : unit.stop - offset]
    lead = None
    if unit.has_lead:
        lead = window.lead if unit.start == offset else window.frames[unit.start - offset - 1]
    return replace(unit.window, frames=frames, lead=lead)


def _read_rate(metadata: VideoMetadata, fps: float) -> float:
    rate = sampling_rate(metadata.native_fps, fps, each_once=metadata.sampled == metadata.frames)
    return rate if rate > 0 else fps
