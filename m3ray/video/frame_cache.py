"""Frames of whole clips for training: decoded once, kept small, read again each epoch."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig, as_json
from m3ray.video.reader import read_video
from m3ray.video.sampling import DECODING, resized
from m3ray.video.sandbox import Decoder


@dataclass(frozen=True)
class FrameStore:
    """The frames of clips on this node.

    Args:
        decode: rate and size.
        size: height and width that frames are kept at, at most the decoder's.
        folder: where they are kept; None: nowhere, each call decodes.
        contents: what lies behind a URI: frames of a clip that changed are not those of before.
    """

    decode: DecodeConfig
    size: int
    folder: str | None
    contents: Mapping[str, str | None] = field(default_factory=dict)

    def frames(
        self, decoder: Decoder, uri: str, limits: LimitsConfig, read: Callable[[str, int], bytes] = read_video
    ) -> np.ndarray:
        """The first window of a clip: uint8 (T, size, size, 3), T at most the decoder's `window_frames`.

        Raises:
            DecodeError: the video cannot be read.
        """
        place = self._place(uri)
        if place is not None and place.is_file():
            with suppress(OSError, ValueError):  # cut short by a full disk, say: decoded again
                return np.load(place, allow_pickle=False)
        small = shrunk(decoder.first_window(read(uri, limits.max_bytes)), self.size)
        if place is not None:
            _keep(place, small)
        return small

    def _place(self, uri: str) -> Path | None:
        if self.folder is None:
            return None
        decides = (uri, self.contents.get(uri), as_json(self.decode), self.size, DECODING)
        key = hashlib.sha256(repr(decides).encode()).hexdigest()
        return Path(self.folder) / key[:2] / f"{key[2:34]}.npy"


def shrunk(frames: np.ndarray, size: int) -> np.ndarray:
    """Frames at `size`: uint8 (T, H, W, 3) to (T, size, size, 3), each pixel the mean of what it covers."""
    if frames.shape[1] == size:
        return np.ascontiguousarray(frames)
    return np.stack([resized(frame, size) for frame in frames])


def stretch(frames: np.ndarray, most: int, rng: np.random.Generator | None) -> np.ndarray:
    """At most `most` consecutive frames: somewhere in the clip, or its middle where nothing is drawn."""
    spare = len(frames) - most
    if spare <= 0:
        return frames
    start = spare // 2 if rng is None else int(rng.integers(spare + 1))
    return frames[start : start + most]


def _keep(place: Path, frames: np.ndarray) -> None:
    """Whole or not at all; a disk without room is no reason to stop."""
    temporary = place.with_suffix(f".{uuid.uuid4().hex}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.save(file, frames, allow_pickle=False)
        os.replace(temporary, place)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
