"""What each tier looks at at once: the smallest pieces of a clip that it can be computed for anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from m3ray.tiers.base import Tier, Window
from m3ray.tiers.image_network import ImageNetworkTier, choose_frames
from m3ray.tiers.raw_tier import RawTier
from m3ray.tiers.torchvision_tier import VisionTier

_RAW_FRAMES = 8  # of a piece of the raw tier, whose numbers are means over frames and pairs of frames


@dataclass(frozen=True)
class Unit:
    """Consecutive frames of a clip that a tier turns into numbers of their own, weighed into the clip's mean.

    Args:
        start: position of the first frame in the clip.
        stop: end of the frames.
        window: what the tier is given, frames left out.
        has_lead: whether the frame before is given too.
    """

    start: int
    stop: int
    window: Window
    has_lead: bool = False

    @property
    def first(self) -> int:
        """Position of the first frame that is looked at, the one before included."""
        return self.start - self.has_lead

    def is_touched(self, start: int, stop: int) -> bool:
        """Tell whether it looks at one of some frames.

        Args:
            start: position of the first of them.
            stop: end of their positions.
        """
        return self.first < stop and self.stop > start


Lay = Callable[[Any, Window, int], list[Unit]]


def lay_units(tier: Tier, window: Window, offset: int) -> list[Unit]:
    """Lay the units of a tier over a decoded window.

    Args:
        tier: the tier.
        window: the window, in the order of the clip.
        offset: position of its first frame in the clip.
    Returns:
        The units, in order; none where the tier looks at nothing in this window.
    """
    if not getattr(tier, "whole_clip", True):
        return _lay_first(tier, window, offset)
    lay = next((found for kind, found in _LAYS.items() if isinstance(tier, kind)), _lay_window)
    return lay(tier, window, offset)


def _lay_first(tier: Tier, window: Window, offset: int) -> list[Unit]:
    return [_take(window, 0, 1, offset, index=0)] if window.index == 0 else []


def _lay_window(tier: Tier, window: Window, offset: int) -> list[Unit]:
    return [_take(window, 0, len(window.frames), offset, index=window.index, has_lead=window.lead is not None)]


def _lay_chosen(tier: ImageNetworkTier, window: Window, offset: int) -> list[Unit]:
    # A window of one frame, the first of its clip, is what such a tier looks at whatever its rate.
    chosen = choose_frames(window, tier.decode)
    return [replace(unit, window=Window(unit.window.frames)) for unit in _take_pieces(window, chosen, 1, offset)]


def _lay_raw(tier: RawTier, window: Window, offset: int) -> list[Unit]:
    units = _take_pieces(window, range(0, len(window.frames), _RAW_FRAMES), _RAW_FRAMES, offset)
    return [replace(unit, has_lead=unit.start > 0) for unit in units]


def _lay_pieces(tier: VisionTier, window: Window, offset: int) -> list[Unit]:
    length = tier.piece_length
    return _take_pieces(window, range(0, len(window.frames), length), length, offset)


_LAYS: Mapping[type[Any], Lay] = {ImageNetworkTier: _lay_chosen, RawTier: _lay_raw, VisionTier: _lay_pieces}


def _take_pieces(window: Window, starts: Sequence[int], length: int, offset: int) -> list[Unit]:
    stop = len(window.frames)
    return [_take(window, start, min(start + length, stop), offset, index=window.index) for start in starts]


def _take(window: Window, start: int, stop: int, offset: int, *, index: int, has_lead: bool = False) -> Unit:
    empty = replace(window, frames=window.frames[:0], index=index, lead=None, uploaded=None)
    return Unit(offset + start, offset + stop, empty, has_lead)
